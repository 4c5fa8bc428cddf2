"""Files to the service: small ones whole, large ones in parts that go on after any interruption."""

from __future__ import annotations

from pathlib import Path

from prixfixe.client.calls import Answer, Operation, Part, Pause, Progress, Request, Upload, Work
from prixfixe.client.conversation import BACKOFF, TRY_AGAIN, Conversation, told_pause
from prixfixe.client.files import require_unchanged
from prixfixe.errors import InvalidInput, Unavailable
from prixfixe.protocol.hashing import sha256_file
from prixfixe.protocol.manifest import InputFile
from prixfixe.protocol.uploads import SMALL_BYTES, PartRange, UploadState, upload_path

# Another offset than the service's, or a service that is busy.
_ASK_AGAIN = TRY_AGAIN | {409}


class Uploading(Conversation):
    """The part of a customer's operations that sends files."""

    def upload(
        self, source: Path, expected: InputFile | None = None, *, progress: Progress | None = None
    ) -> Operation[str]:
        """Send a file unless the service has it; its SHA-256.

        expected: what the file was when it was quoted; a file that has changed since is refused. A large file
        goes on where an earlier try stopped, also of another process: the service knows how far it is.
        """
        if expected is None:
            sha256, size = yield Work(lambda: sha256_file(source))
        else:
            sha256, size = expected.sha256, expected.size
        if size > SMALL_BYTES:
            yield from self._in_parts(source, sha256, size, progress)
            return str(sha256)
        path = f"/v1/blobs/{sha256}"
        held = yield from self.send_signed_in(Request("HEAD", path), accept=frozenset({404}))
        if held.status == 404:
            yield from self.send_signed_in(Upload(path, source, sha256, size, progress=progress))
        elif progress is not None:
            progress(size, size)
        return str(sha256)

    def _in_parts(self, source: Path, sha256: str, size: int, progress: Progress | None) -> Operation[None]:
        """Ask how far the service is, and go on there, until it has all. Tries are counted anew whenever the
        service got further."""
        failures, furthest = 0, -1
        while True:
            answer = yield from self.send_signed_in(Request("HEAD", upload_path(sha256)))
            state = UploadState.read(answer.headers)
            if state.offset > size:  # of another file that was sent under this name
                yield from self.send_signed_in(Request("DELETE", upload_path(sha256)))
                continue
            if progress is not None:
                progress(state.offset, size)
            if state.complete:
                return
            if state.offset > furthest:
                failures, furthest = 0, state.offset
            failure = yield from self._send_from(state.offset, source, sha256, size, progress)
            if failure is None:
                return
            if failures == len(BACKOFF):
                if isinstance(failure, Unavailable):
                    raise failure
                failure.require_success()
            pause = BACKOFF[failures]
            failures += 1
            yield Pause(pause if isinstance(failure, Unavailable) else told_pause(failure, pause))

    def _send_from(
        self, offset: int, source: Path, sha256: str, size: int, progress: Progress | None
    ) -> Operation[Answer | Unavailable | None]:
        """Send the file from `offset` on. None when it is there; what went wrong when another try may help,
        else it is raised."""
        while True:
            part = Part(upload_path(sha256), source, PartRange.next(offset, size), progress=progress)
            try:
                answer = yield from self.send_signed_in(part, accept=_ASK_AGAIN)
            except Unavailable as lost:
                if not lost.retryable:
                    raise
                return lost
            except InvalidInput as refused:
                if refused.code != "digest-mismatch":
                    raise
                # The service has thrown it all away. Whose fault was it? If not the file's, send it again.
                yield Work(lambda: require_unchanged(source, sha256, size))
                return Unavailable(refused.message, code=refused.code)
            if answer.status in _ASK_AGAIN:
                return answer
            if part.range.last:
                return None
            offset = part.range.end
