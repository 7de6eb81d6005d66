"""DDGAN Explorer: `python app.py`, then open the page that it names."""

import argparse

from ddgan.ui import build, launch

demo = build()

if __name__ == "__main__":
    options = argparse.ArgumentParser(description="DDGAN Explorer")
    options.add_argument("--host", default=None, help="address to listen on (default: this machine only)")
    options.add_argument("--port", type=int, default=None, help="port (default: 7860, or the next free one)")
    options.add_argument("--browser", action="store_true", help="open the page in the default browser")
    chosen = options.parse_args()
    try:
        launch(demo, host=chosen.host, port=chosen.port, browser=chosen.browser)
    except OSError as error:
        options.exit(2, f"app.py: {error}\n")
