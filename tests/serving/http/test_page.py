"""The chat page, in a headless Chromium, with a server that answers by a script."""

import base64
import hashlib
import http.server
import json
import re
import threading
import time
from pathlib import Path

import pytest

import keras_griffin
from keras_griffin.serving import app
from scripts.browse_site import DESK, PHONE, chromium, elsewhere

PAGE = (Path(keras_griffin.__file__).parent / "serving/http/page.html").read_bytes()
#: Pieces of an answer, some of them no whole character, and none to be taken for HTML.
PIECES = ["\nIt is <b>né", "</b> & <img src=x onerror=alert(1)>\n", "本語 😀."]
ANSWER = "".join(PIECES)
#: What is shown of the first piece, and of all: not the empty line at the beginning.
BEGUN, SHOWN = PIECES[0].strip(), ANSWER.strip()
STATE = base64.b64encode(bytes(1000)).decode()
KEY = "sk-right"
BOX = "((name) => document.querySelector(name).getBoundingClientRect())"
needs_chromium = pytest.mark.skipif(chromium() is None, reason="needs Chromium, which no package of Python brings")
pytestmark = pytest.mark.any_backend


def error(message):
    return {"error": {"message": message, "type": "some_error", "param": None, "code": None}}


class Scripted(http.server.BaseHTTPRequestHandler):
    """Answers as the last message asks: `hold` after the first piece, `break`, `cut`, be `full`, or say ANSWER."""

    def log_message(self, *_):
        pass

    def answer(self, content, kind="application/json", status=200):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(content if isinstance(content, bytes) else json.dumps(content).encode())

    def is_refused(self):
        refused = self.server.key and self.headers["Authorization"] != f"Bearer {self.server.key}"
        if refused:
            self.answer(error("This key is not known."), status=401)
        return refused

    def do_GET(self):
        if self.path == "/":
            self.answer(PAGE, "text/html; charset=utf-8")
        elif not self.is_refused():
            self.answer({"object": "list", "data": [{"id": "a-model", "object": "model"}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.is_refused():
            return
        self.server.asked.append(body)
        prompt = 20 * len(body["messages"])
        script = body["messages"][-1]["content"]
        if script == "full" and len(self.server.asked) % 2:
            return self.answer(error("Too many wait."), status=429)
        try:
            self.answer(b": hello\n\n", "text/event-stream")
            self.event(delta={"role": "assistant", "content": ""})
            for i, piece in enumerate(PIECES):
                if i and script == "cut":
                    return
                if i and script == "break":
                    return self.send(error("The model fails."))
                self.event(delta={"content": piece}, **{"state": STATE} if piece == PIECES[-1] else {})
                while script == "hold" and not self.server.go_on.wait(0.02):
                    self.send(": ping")
            self.event(delta={}, finish_reason="length" if body.get("max_tokens") == 3 else "stop")
            found = {"cached_tokens": prompt - 15 if prompt > 20 else 0}
            usage = {"prompt_tokens": prompt, "completion_tokens": 3, "prompt_tokens_details": found}
            self.send({"choices": [], "usage": usage})
            self.send("data: [DONE]")
        except (BrokenPipeError, ConnectionResetError):
            self.server.hung_up.release()

    def event(self, **choice):
        self.send({"choices": [{"index": 0, "finish_reason": None} | choice], "usage": None})

    def send(self, event):
        line = event if isinstance(event, str) else f"data: {json.dumps(event, ensure_ascii=False)}"
        start, accent, rest = f"{line}\n\n".partition("é")
        self.wfile.write(start.encode() + accent.encode()[:1])
        if accent:
            # The other half comes later.
            time.sleep(0.02)
        self.wfile.write(accent.encode()[1:] + rest.encode())


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs the extra docs")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        server.daemon_threads, server.key, server.asked, server.hung_up = True, None, [], threading.Semaphore(0)
        server.go_on = threading.Event()
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.go_on.set()
        server.shutdown()


@pytest.fixture
def tab(browser, server):
    """The page, and in `tab.faults` what a visitor must not meet: errors of the script, and requests elsewhere."""
    tab = browser.new_page(viewport={"width": DESK[0], "height": DESK[1]})
    tab.set_default_timeout(20_000)
    tab.faults = []
    address = f"http://127.0.0.1:{server.server_port}"
    tab.on(
        "console", lambda m: m.type in ("error", "warning") and "status of" not in m.text and tab.faults.append(m.text)
    )
    tab.on("pageerror", lambda fault: tab.faults.append(str(fault)))
    tab.on("request", lambda request: tab.faults.extend(elsewhere(request.url, address)))
    tab.on("dialog", lambda dialog: tab.faults.append(dialog.message))
    tab.goto(address)
    tab.wait_for_selector("#go:enabled")
    yield tab
    assert not tab.faults
    tab.close()


def say(tab, message, then="Send"):
    """Type a message and Enter, and wait until the button has a word."""
    tab.fill("#text", message)
    tab.press("#text", "Enter")
    tab.wait_for_selector(f"#go:text-is('{then}')")


def answers(tab):
    """Those on the page, each of which a screen reader introduces."""
    texts = tab.get_by_role("log", name="The conversation").locator(".answer").all_text_contents()
    assert all(text.startswith("a-model: ") for text in texts)
    return [text.removeprefix("a-model: ") for text in texts]


def measured(tab, name):
    return tab.inner_text(f"#{name} dd >> nth=0")


def test_the_policy_of_the_page_has_the_hashes_of_its_script_and_style():
    page = PAGE.decode()
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", page, re.DOTALL)
        wanted = f"{tag}-src 'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
        assert wanted in page
    assert not re.findall(r"innerHTML|insertAdjacentHTML|document\.write|https?://(?!www\.w3\.org/2000/svg)", page)


@needs_chromium
@pytest.mark.slow
def test_a_talk_is_streamed_and_its_cost_shown(tab, server):
    assert tab.inner_text("h1") == tab.title() == "a-model" and tab.is_disabled("#new")
    tab.keyboard.type("hold")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".answer:has-text('It is')")
    assert answers(tab) == [BEGUN] and tab.inner_text("#go") == "Stop"
    assert tab.get_attribute("article", "aria-busy") == "true"
    # Enter sends nothing while an answer is written.
    tab.keyboard.type("next")
    tab.keyboard.press("Enter")
    assert tab.input_value("#text") == "next" and len(server.asked) == 1
    tab.wait_for_timeout(60)
    server.go_on.set()
    tab.wait_for_selector("#go:text-is('Send')")
    assert answers(tab) == [SHOWN] and tab.get_attribute("article", "aria-busy") == "false"
    facts = r"Read 20 new tokens, found 0 · state 1,000 bytes · first token after \d+ ms · [\d,]+ tokens/s"
    assert re.fullmatch(facts, tab.inner_text(".facts"))

    tab.keyboard.press("Shift+Enter")
    tab.keyboard.type("line")
    tab.click("summary")
    tab.get_by_label("Maximum tokens").fill("3")
    tab.get_by_label("Temperature").fill("0.5")
    assert tab.inner_text("summary") == "Temperature 0.5, 3 tokens"
    tab.click("#go")
    tab.wait_for_selector(".facts:has-text('cut at the maximum of tokens')")
    assert answers(tab) == [SHOWN, SHOWN]
    talk = [("user", "hold"), ("assistant", ANSWER), ("user", "next\nline")]
    assert server.asked[1] == {
        "model": "a-model",
        "messages": [{"role": role, "content": content} for role, content in talk],
        "temperature": 0.5,
        "max_tokens": 3,
        "stream": True,
        "stream_options": {"include_usage": True},
        "state": True,
    }
    assert measured(tab, "read") == "15 of 60 tokens" and measured(tab, "bytes") == "1,000 bytes"
    assert re.fullmatch(r"\d+ ms", measured(tab, "first")) and re.fullmatch(r"[\d,]+ tokens/s", measured(tab, "speed"))
    # The state's line is flat, half way up.
    assert tab.get_attribute("#bytes polyline", "points") == "0,10 100,10"
    assert tab.get_attribute("#read polygon", "points").startswith("0,20 0,13.3")

    tab.click("#new")
    assert not answers(tab) and measured(tab, "bytes") == "– bytes" and tab.is_visible("#hint")
    say(tab, "again")
    assert len(server.asked[2]["messages"]) == 1


@needs_chromium
@pytest.mark.slow
def test_an_answer_is_stopped(tab, server):
    stops = (lambda: tab.click("#go"), lambda: tab.keyboard.press("Escape"), lambda: tab.click("#new"))
    for number, stop in enumerate(stops):
        say(tab, "hold", then="Stop")
        tab.wait_for_function("n => document.querySelectorAll('.answer')[n].textContent.includes('It is')", arg=number)
        stop()
        tab.wait_for_selector("#go:text-is('Send')")
        assert server.hung_up.acquire(timeout=20), "the server's answer goes on"
    # What was seen of the stopped answers was sent.
    sent = [message["content"] for message in server.asked[2]["messages"]]
    assert sent == ["hold", PIECES[0], "hold", PIECES[0], "hold"]
    assert not answers(tab) and tab.locator(".wrong").count() == 0


@needs_chromium
@pytest.mark.slow
def test_what_is_wrong_is_said_and_tried_again(tab, server):
    for script, sentence, seen in [
        ("full", "Too many wait.", ""),
        ("break", "The model fails.", BEGUN),
        ("cut", "The connection ended before the answer did.", BEGUN),
    ]:
        tab.click("#new") if tab.is_enabled("#new") else None
        say(tab, script)
        assert tab.get_by_role("alert").all_inner_texts() == [sentence] and answers(tab) == [seen]
    say(tab, "other")
    assert [message["content"] for message in server.asked[-1]["messages"]] == ["cut", PIECES[0], "other"]
    assert tab.get_by_role("button", name="Retry").count() == 0

    tab.click("#new")
    server.asked.clear()
    say(tab, "full")
    tab.get_by_role("button", name="Retry").click()
    tab.wait_for_selector(".facts:has-text('Read')")
    assert answers(tab) == [SHOWN] and tab.locator(".wrong").count() == 0
    say(tab, "full")
    say(tab, "more")
    # A question without an answer is no part of the talk.
    assert [message["content"] for message in server.asked[-1]["messages"]] == ["full", ANSWER, "more"]

    server.shutdown()
    server.server_close()
    say(tab, "gone")
    assert tab.get_by_role("alert").last.inner_text() == "The server can't be reached."
    tab.faults.clear()


@needs_chromium
@pytest.mark.slow
def test_a_key_is_asked_for_and_kept_as_long_as_the_tab(tab, server):
    server.key = KEY
    tab.reload()
    for key in ("sk-wrong", KEY):
        assert tab.get_by_role("alert").inner_text() == "This key is not known." and tab.is_disabled("#go")
        tab.get_by_label("Key").fill(key)
        with tab.expect_response("**/v1/models"):
            tab.keyboard.press("Enter")
    tab.wait_for_selector("h1:text-is('a-model')")
    tab.reload()
    tab.wait_for_selector("h1:text-is('a-model')")
    # It changes in the middle of a talk.
    server.key = "sk-new"
    say(tab, "Hello")
    tab.keyboard.type("sk-new")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".facts:has-text('Read')")
    kept = tab.evaluate("[sessionStorage.getItem('key'), localStorage.length]")
    assert answers(tab) == [SHOWN] and kept == ["sk-new", 0]


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [DESK, PHONE], ids=["desk", "phone"])
def test_the_page_fits_its_screen(tab, screen, scheme):
    tab.set_viewport_size({"width": screen[0], "height": screen[1]})
    tab.emulate_media(color_scheme=scheme)
    say(tab, "w" * 300)
    for i in range(6):
        say(tab, f"{i}\n" * 5)
    tab.click("summary")
    assert tab.evaluate("document.documentElement.scrollWidth") <= screen[0]
    assert tab.evaluate("document.documentElement.scrollHeight") <= screen[1]
    assert tab.evaluate("document.querySelector('#log').scrollWidth <= document.querySelector('#log').clientWidth")
    # The end of the talk is in sight, above the form.
    tab.wait_for_function(f"() => {BOX}('article:last-of-type').bottom <= {BOX}('#form').top")
    for text in ("h1", ".question", ".answer", ".facts", "dt"):
        assert contrast(tab, f"{text} >> nth=0") > 4.5, text


def contrast(tab, selector):
    """Of a text with the page, by WCAG 2.2."""
    colours = tab.eval_on_selector(
        selector, "e => [e, document.body].map((e, i) => getComputedStyle(e)[i ? 'backgroundColor' : 'color'])"
    )
    light = []
    for colour in colours:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        light.append(0.05 + 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return max(light) / min(light)


@needs_chromium
@pytest.mark.slow
def test_the_server_itself_is_talked_to(browser, bytes_model, run_application):
    """A second turn reads its question alone, and the state is as large as before."""
    with run_application(app(bytes_model, name="tiny", most_tokens=8)) as at:
        tab = browser.new_page()
        tab.set_default_timeout(20_000)
        tab.goto(f"http://127.0.0.1:{at.port}/")
        tab.wait_for_selector("#go:enabled")
        sizes = []
        for turn, question in enumerate(("hello", "more")):
            say(tab, question)
            tab.wait_for_selector(f".facts >> nth={turn}")
            sizes.append(int(measured(tab, "bytes").removesuffix(" bytes").replace(",", "")))
            while "keras_griffin_waiting 0.0" not in at.client.get("/metrics").text:
                time.sleep(0.01)
        assert measured(tab, "read").startswith(f"{len('more') + 1} of ")
        assert max(sizes) - min(sizes) < 64 < bytes_model.initial_state(1).num_bytes < min(sizes)
        tab.close()
