"""Images, while the server reads the training set: the page asks for the exact answers alone."""

import os

from test_class_bars import CLASSES, shown
from test_strips import EXPLORER, READY

from ddgan.evidence.bench.page import served

BATCH = b"".join(bytes([k]) + bytes(3 * 32 * 32) for k in range(10))  # a black image of each class, after its number


def test_while_the_training_set_is_read_nothing_else_is_asked_for_or_drawn_again(chromium, tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for i in range(2, 6):
        (folder / f"data_batch_{i}.bin").write_bytes(BATCH)
    os.mkfifo(slow := folder / "data_batch_1.bin")  # which is read once the test writes it
    page = chromium.new_page()
    asked = []
    page.on("request", lambda request: asked.append(request.post_data or ""))
    try:
        with served(DDGAN_DATA=str(tmp_path)) as (address, _):
            page.goto(f"{address}?data=cifar10&n=1&T=1&seed=5", wait_until="domcontentloaded")
            page.wait_for_selector(f"{READY}[data-id]", timeout=60_000)
            shown(page, "0.ddgan", "reading")
            page.wait_for_selector(f"{EXPLORER}[data-truth=reading]", timeout=30_000)
            boxes = f"{CLASSES} .classes-bar, {EXPLORER} canvas"
            page.locator(boxes).evaluate_all("boxes => { window.boxes = boxes; }")
            asked.clear()
            page.wait_for_timeout(4000)
            questions = [text for text in asked if "exact_only" in text]
            assert len(questions) >= 4 and all(r"exact_only\":true" in text for text in questions)
            assert page.evaluate("boxes.length > 3 && boxes.every(box => box.isConnected)"), "nothing is drawn again"
            slow.write_bytes(BATCH)
            assert shown(page, "0.ddgan").count() == 3 * 2, "the row of the set beside those of the models"
            page.wait_for_selector(f"{EXPLORER}[data-truth=done]", timeout=30_000)
            assert page.locator(f"{EXPLORER} .explorer-cell").count() == 4
    finally:
        page.context.close()
