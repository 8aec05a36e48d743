"""Bytes of a source, bounded: blocks, decompression, line ends, and splitting at a separator.

Nothing here holds more than a few blocks, or one record of at most `MAX_RECORD` bytes. Decompressors are the strict
ones: Arrow's raise on a truncated, damaged or padded stream and read on through several members, where python's bz2
and lzma files ignore what follows the first member if it is damaged, and the zstd reader of python-zstandard
returns half a truncated frame as if it were all (measured: 150,236 of 650,000 bytes and no error).
"""

from __future__ import annotations

import lzma
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs

from protea_ray.errors import InputError
from protea_ray.sequences.parts import Source
from protea_ray.sequences.records import MAX_RECORD

BLOCK = 8 << 20
KEPT = 64 << 10  # of an oversized record: enough for its header
BOM = b"\xef\xbb\xbf"
_XZ_MEMORY = 256 << 20  # `xz -9` needs 65 MiB; a header may ask for 4 GiB. zstd has such a limit by itself (128 MiB)
TAR_SUFFIXES = {".tgz": "gzip", ".tbz2": "bz2", ".tbz": "bz2", ".txz": "xz", ".tzst": "zstd"}
_ARROW_CODECS = {"gzip": "gzip", "bzip2": "bz2", "zstd": "zstd"}


def filesystem_of(uri: str) -> tuple[AbstractFileSystem, str]:
    """The fsspec filesystem of a URL or chain of URLs, and the path in it; the proxies of the environment are used."""
    # without trust_env aiohttp reads neither http_proxy and no_proxy nor ~/.netrc, as curl does
    options: dict[str, dict[str, Any]] = {
        scheme: {"client_kwargs": {"trust_env": True}} for scheme in ("http", "https") if f"{scheme}://" in uri
    }
    short = next((codec for suffix, codec in TAR_SUFFIXES.items() if uri.endswith(suffix)), None)
    if short and uri.startswith("tar://"):
        options["tar"] = {"compression": short}  # fsspec knows only the long names, such as .tar.gz
    return url_to_fs(uri, **options)


@contextmanager
def opened(uri: str) -> Generator[BinaryIO, None, None]:
    """A seekable binary file for any fsspec URL; raises InputError when it cannot be opened."""
    try:
        filesystem, path = filesystem_of(uri)
        handle = filesystem.open(path, "rb")
    except Exception as error:  # every remote filesystem has its own exception types
        raise unreadable(uri, error) from error
    with handle:
        yield handle


_ADVICE = {  # by a part of the name of an exception of aiohttp
    "DNS": "the server's name is not known; check the address, and https_proxy if there is a proxy",
    "Proxy": "the proxy does not answer; check http_proxy and https_proxy",
    "Certificate": "the server's certificate is not trusted",
    "SSL": "no secure connection could be made",
    "TooManyRedirects": "the server redirects without end",
    "Timeout": "no answer came in time; try again later",
    "Connector": "no connection could be made; check the address and the port",
    "Payload": "the transfer broke off; try again",
    "Disconnected": "the server closed the connection; try again",
    "InvalidU": "this is no valid URL",
}
_GONE = (404, 410)


def unreadable(uri: str, error: BaseException) -> InputError:
    """The error for a file that the filesystem does not give, with the network's cause where there is one.

    fsspec's web filesystem raises FileNotFoundError whatever went wrong; the cause is in its chain.
    """
    cause = _network_error(error)
    status = getattr(cause, "status", None)
    if status in _GONE or (cause is None and isinstance(error, FileNotFoundError)):
        return InputError(f"{uri}: no such file{f' (the server answers {status})' if status else ''}")
    cause = cause or error
    name, said = type(cause).__name__, " ".join(str(cause).split())[:300]
    advice = next((words for part, words in _ADVICE.items() if part in name), None)
    if advice is None and status:
        advice, said = f"the server answers {status}", str(getattr(cause, "message", ""))
    reason = said or "no reason given"
    return InputError(f"{uri}: cannot be read" + (f": {advice}" if advice else "") + f" ({name}: {reason})")


def _network_error(error: BaseException) -> BaseException | None:
    """The first exception of the network in a chain of causes, if there is one."""
    link: BaseException | None = error
    while link is not None:
        if type(link).__module__.startswith("aiohttp") or isinstance(link, TimeoutError | ConnectionError):
            return link
        link = link.__cause__ or link.__context__
    return None


def raw_blocks(uri: str, start: int = 0, end: int | None = None, size: int = BLOCK) -> Iterator[bytes]:
    """The bytes [start, end) as they stand in the file; raises InputError when it has fewer."""
    with opened(uri) as handle:
        at = start
        if start:
            handle.seek(start)
        while end is None or at < end:
            try:
                block = handle.read(size if end is None else min(size, end - at))
            except Exception as error:  # as above
                raise unreadable(uri, error) from error
            if not block:
                break
            at += len(block)
            yield block
    if end is not None and at < end:
        raise InputError(f"{uri}: ends at byte {at}, {end} were there before; it changed, so start again")


def blocks(source: Source, start: int = 0, end: int | None = None, size: int = BLOCK) -> Iterator[bytes]:
    """The decompressed bytes of a source, in blocks. `start` and `end` are for a source without compression.

    Raises InputError on a stream that is truncated, damaged, or followed by something else.
    """
    if source.compression == "none":
        return raw_blocks(source.uri, start, end, size)
    if source.compression == "xz":
        return _unxz(source.uri, size)
    return _arrow_blocks(source, size)


def _arrow_blocks(source: Source, size: int) -> Iterator[bytes]:
    done = 0
    with opened(source.uri) as handle:
        stream = pa.CompressedInputStream(pa.PythonFile(handle, mode="r"), _ARROW_CODECS[source.compression])
        while True:
            try:
                block = stream.read(size)
            except OSError as error:
                raise damaged(source.uri, source.compression, done, error) from error
            if not block:
                return
            done += len(block)
            yield block


def _unxz(uri: str, size: int) -> Iterator[bytes]:
    decoder, done = _xz_decoder(), 0
    try:
        for raw in raw_blocks(uri, size=1 << 20):
            data = raw
            while data or not (decoder.eof or decoder.needs_input):
                if decoder.eof:
                    decoder = _xz_decoder()
                block = decoder.decompress(data, size)
                data = decoder.unused_data
                done += len(block)
                if block:
                    yield block
        if not decoder.eof:
            raise EOFError("truncated stream")
    except (lzma.LZMAError, EOFError) as error:
        raise damaged(uri, "xz", done, error) from error


def _xz_decoder() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def damaged(uri: str, compression: str, done: int, error: BaseException) -> InputError:
    """The error for a compressed stream that does not decompress to its end."""
    said = " ".join(str(error).split())
    return InputError(
        f"{uri}: truncated or damaged {compression}, after {done} good bytes ({said}); download or compress it again"
    )


def whole_lines(raw: Iterable[bytes], lead: bytes = b"") -> Iterator[bytes]:
    """The same bytes, after `lead`, in blocks that do not end inside or right after a line end; the last one may.

    So a pattern such as newline + `>` is never split over two blocks.
    """
    held = lead
    for block in raw:
        data = held + block
        keep = 2 if data.endswith(b"\r\n") else int(data.endswith((b"\r", b"\n")))
        cut = len(data) - keep
        held = data[cut:]
        if cut:
            yield data[:cut]
    if held:
        yield held


def unix_lines(raw: Iterable[bytes], lead: bytes = b"") -> Iterator[bytes]:
    """The blocks of `whole_lines` without a byte order mark, every line end (LF, CRLF, CR) replaced by one LF."""
    for block in whole_lines(_without_bom(raw), lead):
        yield block.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in block else block


def _without_bom(raw: Iterable[bytes]) -> Iterator[bytes]:
    for number, block in enumerate(raw):
        yield block if number else block.removeprefix(BOM)


class RawRecord(NamedTuple):
    """The text between two separators. `size` is its length in bytes, `newlines` its number of LF.

    Of a text above the limit of `pieces`, `data` holds only the first `KEPT` bytes.
    """

    data: bytes
    size: int
    newlines: int


def pieces(text: Iterable[bytes], separator: bytes, limit: int = MAX_RECORD) -> Iterator[RawRecord]:
    """Split blocks at a separator that no block border cuts. A piece above `limit` bytes is counted and not held."""
    held: list[bytes] = []
    size = newlines = 0
    for block in text:
        for position, data in enumerate(block.split(separator)):
            if position:  # a separator came before it
                yield RawRecord(held[0] if len(held) == 1 else b"".join(held), size, newlines)
                held, size, newlines = [], 0, 0
            if size + len(data) <= limit:
                held.append(data)
            elif size <= limit:
                held = [_beginning([*held, data])]
            size += len(data)
            newlines += data.count(b"\n")
    yield RawRecord(b"".join(held), size, newlines)


def _beginning(held: Iterable[bytes]) -> bytes:
    """The first `KEPT` bytes of the blocks, without joining all of them."""
    kept = bytearray()
    for data in held:
        kept += data[: KEPT - len(kept)]
    return bytes(kept)
