"""Where a sealed secret goes, in which form, and what is said of it."""

from collections.abc import Callable
from pathlib import Path

from blindfold.forms import MAX_TEXT, to_location, to_text
from blindfold.sealing import Sink
from cli.offline.target import Target
from cli.output import write_json
from cli.secret_io import BoundedBuffer, public_sink

# A base64 text is four thirds of the sealed bytes.
MAX_SEALED_FOR_TEXT = MAX_TEXT // 4 * 3 - 64
TEXT_FORMS: dict[str, Callable[[bytes], str]] = {"text": to_text, "location": to_location}


def write_sealed(
    seal: Callable[[Sink], None], target: Target, *, form: str, out: Path | None, as_json: bool
) -> None:
    """Have `seal` write the binary form, and put it into a file, into the JSON object, or on standard output.

    `form` is that of the file or of standard output; inside a JSON object it is a text. Raises `UsageError`,
    `OSError`, and as `seal`.
    """
    if as_json and out is None:
        form = "text" if form == "binary" else form
        write_json({"form": form, "sealed": _text(seal, form)} | target.to_json())
        return
    if form == "binary":
        with public_sink(out, binary=True) as sink:
            seal(sink)
    else:
        text = _text(seal, form)
        with public_sink(out, binary=False) as sink:
            sink.write(text.encode("ascii") + b"\n")
    if as_json:
        write_json({"form": form, "out": str(out)} | target.to_json())


def _text(seal: Callable[[Sink], None], form: str) -> str:
    buffer = BoundedBuffer(MAX_SEALED_FOR_TEXT)
    seal(buffer)
    return TEXT_FORMS[form](buffer.getvalue())
