"""The page itself, in Gradio, and the server that answers for it.

Gradio never reads a visitor's picture: its own steps before a function are switched off, so that every value arrives as
it was sent, and is checked here. `deeplab serve` switches its telemetry off before it imports this file.
"""

import html
import re
import shutil
import socket
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI, Response

from deeplab_lightning.crf.dense_crf import DenseCRF
from deeplab_lightning.crf.published import SETTINGS
from deeplab_lightning.crf.sliders import PRESET, SLIDERS
from deeplab_lightning.serving.answers import Answer, ServedModel
from deeplab_lightning.serving.choices import SCALES, method_of
from deeplab_lightning.serving.downloads import FORMATS, Downloads
from deeplab_lightning.serving.guard import Guard
from deeplab_lightning.serving.limits import Deadline, Limits
from deeplab_lightning.serving.view import Files, heading, view

HERE = Path(__file__).parent
KEPT_SECONDS, SWEEP_SECONDS = 600, 60
"""The time after which an uploaded picture is deleted, and the time between two such deletions."""
HEADER = (
    '<header class="dl-head"><h1>DeepLab</h1><p>Drop a picture, and every pixel of it gets a class. It stays on this '
    "machine.</p></header>"
)
EMPTY = '<div class="dl-empty">The result appears here.</div>'
PLACEHOLDER = "Drop a picture here,\nclick to choose one,\nor paste one with the button below"
PRIVACY = "Pictures are deleted after ten minutes."
EVENT: dict[str, Any] = {
    "preprocess": False,
    "trigger_mode": "always_last",
    "concurrency_limit": 1,
    "concurrency_id": "models",
    "show_progress": "minimal",
}
"""The options of every event that segments: values arrive as they were sent, one request at a time, the last wins."""
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]


class Page:
    """The page of some models.

    Args:
        models: The models, each with a column of its own.
        limits: Limits of a request.
        folder: Folder of the uploaded pictures, which is Gradio's.
        examples: Pictures with a button each.
    """

    def __init__(self, models: Sequence[ServedModel], limits: Limits, folder: Path, examples: Sequence[Path]) -> None:
        self.models, self.limits, self.folder, self.examples = models, limits, folder, examples
        self.downloads = Downloads()
        self.presets: dict[str, DenseCRF] = {
            f"found for {model.name}": crf
            for model in models
            if model.segmenter.description.crf is not None
            and (crf := model.segmenter.method("checkpoint").crf) is not None
        } | SETTINGS
        self._lock = Lock()

    def respond(self, picture: Any, scales: Any, flip: Any, uses_crf: Any, preset: Any, *values: Any) -> list[str]:
        """Segment a picture with every model; the values are those of the page, or whatever was sent instead.

        Returns:
            The HTML of each model's answer.

        Raises:
            gradio.Error: There is no picture, it cannot be segmented, or a value is not one that the page offers.
        """
        given = picture if isinstance(picture, Mapping) else {}
        path, name = Path(str(given.get("path"))), Path(str(given.get("orig_name") or "picture")).name
        try:
            if not given.get("path") or not path.resolve().is_relative_to(self.folder.resolve()):
                raise ValueError("there is no picture; drop one, paste one, or choose an example")
            if not isinstance(preset, str) or preset not in self.presets:
                raise ValueError("choose one of the listed presets of the CRF")
            settings = dict(zip(SLIDERS, values, strict=True))
            how = method_of(scales, flip, uses_crf, preset=self.presets[preset], values=settings)
            with self._lock:
                deadline = Deadline(self.limits.seconds)
                answers = [model.answer(model.read(path, self.limits), how, deadline) for model in self.models]
        except (ValueError, TimeoutError, ModuleNotFoundError, OSError, MemoryError, RuntimeError) as error:
            sentence = _sentence(error, path, name)
            raise gr.Error(sentence, duration=None, title="Not segmented", print_exception=False) from error
        return [self._shown(answer, name) for answer in answers]

    def refresh(self, picture: Any, *values: Any) -> list[str]:
        """Segment as `respond` does; without a picture, empty the results."""
        return [EMPTY] * len(self.models) if picture is None else self.respond(picture, *values)

    def _shown(self, answer: Answer, name: str) -> str:
        token = self.downloads.add(answer.mask, answer.result.palette, name)
        mask, polygons = (f"/results/{token}/{kind}" for kind in FORMATS)
        return view(answer, Files(mask, polygons, re.sub(r"[^\w.-]", "_", Path(name).stem) or "picture"))

    def blocks(self) -> gr.Blocks:
        """Lay out the page."""
        title = f"DeepLab: {', '.join(model.name for model in self.models)}"
        with gr.Blocks(title=title, analytics_enabled=False, delete_cache=(SWEEP_SECONDS, KEPT_SECONDS)) as page:
            gr.HTML(HEADER, apply_default_css=False)
            with gr.Row():
                with gr.Column(scale=2, min_width=300):
                    picture, ask = self._picture()
                    controls = self._controls()
                with gr.Column(scale=4, min_width=300), gr.Row():
                    results = [_column(model) for model in self.models]
            inputs = [picture, *controls.values()]
            event: dict[str, Any] = {"outputs": results, **EVENT}
            ask.click(self.respond, inputs, api_name="segment", **event)
            changes = [controls[name].input for name in ("scales", "flip", "uses_crf")]
            changes += [controls[name].release for name in SLIDERS]
            gr.on([picture.change, *changes], self.refresh, inputs, api_name="refresh", **event)
            sliders = [controls[name] for name in SLIDERS]
            controls["preset"].input(
                self._preset, controls["preset"], sliders, preprocess=False, api_name="preset", queue=False
            ).success(self.refresh, inputs, api_name="refresh_by_preset", **event)
        page.queue(max_size=self.limits.waiting, default_concurrency_limit=1)
        return page

    def _preset(self, name: Any) -> list[float]:
        if not isinstance(name, str) or name not in self.presets:
            raise gr.Error("choose one of the listed presets of the CRF", print_exception=False)
        return [getattr(self.presets[name], setting) for setting in SLIDERS]

    def _picture(self) -> tuple[gr.Image, gr.Button]:
        picture = gr.Image(
            label="Picture",
            placeholder=PLACEHOLDER,
            type="filepath",
            format="png",
            image_mode=None,
            sources=["upload", "clipboard"],
            height=280,
            buttons=[],
        )
        ask = gr.Button("Segment", variant="primary")
        if self.examples:
            with gr.Row():
                for path in self.examples:
                    gr.Button(path.name, size="sm", min_width=80).click(
                        lambda path=path: self._copied(path), None, picture, api_visibility="private", queue=False
                    )
        gr.HTML(f'<p class="dl-limits">{self.limits} {PRIVACY}</p>', apply_default_css=False)
        return picture, ask

    def _copied(self, path: Path) -> str:
        """Copy an example to where uploads are, because those are deleted."""
        return shutil.copy(path, tempfile.mkdtemp(dir=self.folder))

    def _controls(self) -> dict[str, Any]:
        """The controls, in the order of the arguments of `respond`."""
        preset = next(iter(self.presets)) if len(self.presets) > len(SETTINGS) else PRESET
        with gr.Accordion("Scales and mirroring", open=False):
            scales = gr.CheckboxGroup(list(SCALES), value=[1.0], label="Scales", info="Probabilities are averaged.")
            flip = gr.Checkbox(False, label="Mirrored as well", info="Twice the time.")
        with gr.Accordion("Dense CRF", open=False):
            uses_crf = gr.Checkbox(False, label="Refine borders by the dense CRF")
            with gr.Column(visible=False) as settings:
                chosen = gr.Dropdown(
                    list(self.presets), value=preset, label="Preset", info="Released or found settings."
                )
                values = zip(SLIDERS.items(), self._preset(preset), strict=True)
                sliders = {
                    name: gr.Slider(*each.limits, value, step=each.step, label=each.label, info=each.info, buttons=[])
                    for (name, each), value in values
                }
        uses_crf.change(
            lambda on: gr.update(visible=on is True), uses_crf, settings, preprocess=False, api_visibility="private",
            queue=False,
        )  # fmt: skip
        return {"scales": scales, "flip": flip, "uses_crf": uses_crf, "preset": chosen, **sliders}


def _column(model: ServedModel) -> gr.HTML:
    with gr.Column(min_width=300):
        gr.HTML(heading(model.name, model.segmenter.description), apply_default_css=False)
        return gr.HTML(EMPTY, apply_default_css=False)


def _sentence(error: Exception, path: Path, name: str) -> str:
    """The message of an error, with the visitor's name of the file in place of its path here."""
    text = " ".join(str(error).split()) or type(error).__name__
    return html.escape(text.replace(str(path), name))


def application(page: Page, hosts: Collection[str]) -> Guard:
    """Return the page as an ASGI application.

    Args:
        page: The page.
        hosts: Names under which the server may be asked for; empty for any.
    """
    api = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @api.get("/results/{token}/{kind}")
    def result(token: str, kind: str) -> Response:
        content = page.downloads.content(token, kind)
        if content is None:
            return Response("this result is not kept any more", 404, media_type="text/plain")
        return Response(content, media_type=FORMATS[kind], headers={"Content-Disposition": "attachment"})

    fonts = {"font": [gr.themes.Font(name) for name in FONT], "font_mono": [gr.themes.Font("ui-monospace")]}
    script = (HERE / "view.js").read_text()
    gr.mount_gradio_app(
        api,
        page.blocks(),
        "/",
        footer_links=[],
        run_history=False,
        max_file_size=page.limits.num_bytes,
        ssr_mode=False,
        enable_monitoring=False,
        theme=gr.themes.Base(primary_hue="blue", neutral_hue="slate", **fonts),
        css=(HERE / "page.css").read_text(),
        head=f"<script>{script}</script>",
    )
    return Guard(api, hosts, page.folder, page.limits.num_bytes)


def serve(application: Guard, listener: socket.socket) -> None:
    """Answer until a signal ends the server, which is raised again.

    Args:
        application: The page.
        listener: Socket that is bound to the address.
    """
    config = uvicorn.Config(
        application, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=1
    )
    uvicorn.Server(config).run([listener])
