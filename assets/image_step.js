/* One step of the machine, in images: x_t, the x_0 that is predicted, and x_s of the sample that is chosen.

Gradio runs it after common.js and machine.js, for ddgan/ui/images.py. It follows the gallery (assets/image_grid.js):
its scrubber, its sample, its denoiser. For tests: .image-step has data-shown ("t.item.of"). */

root.innerHTML = '<figure class="step-machine"></figure>';
const diagram = machine($('.step-machine'));
const follow = followGallery(({ item, of }) => {
  const step = gallery().step();
  diagram.show(step);
  Object.assign(root.dataset, { ready: 1, shown: `${step.t}.${item}.${of}` });
});
onSize(follow);
follow();
