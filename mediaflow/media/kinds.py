"""Which files may be media, told by name alone: `submit` never opens a file."""

from __future__ import annotations

import fnmatch
import mimetypes
from functools import lru_cache
from typing import Literal

from mediaflow.media.rendition import Kind


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SUFFIXES: dict[str, Kind] = {
    **dict.fromkeys(
        _words(
            "jpg jpeg jpe jfif png apng webp gif bmp dib tif tiff heic heics heif heifs hif avif "
            "avifs mpo psd jp2 j2k jpf jpx jpc ppm pgm pbm pnm qoi"
        ),
        "image",
    ),
    **dict.fromkeys(
        _words(
            "mp4 m4v mov qt mkv webm avi mpg mpeg mpe m2v mpv vob m2ts mts ts 3gp 3g2 wmv asf flv f4v "
            "ogv ogm mxf dv divx rm rmvb wtv"
        ),
        "video",
    ),
    **dict.fromkeys(
        _words(
            "wav wave w64 mp3 mp2 mpga flac ogg oga opus spx m4a m4b aac adts ac3 wma aif aiff aifc "
            "caf amr awb mka weba ape wv tta au snd dsf"
        ),
        "audio",
    ),
}

_UNFINISHED = _words("part partial crdownload download tmp temp !ut aria2 filepart")
_SIDECARS = _words("xmp aae thm pp3 dop on1 lrv lrf srt vtt ass sub idx cue lrc m3u m3u8 pls nfo")
_SYSTEM = _words(
    "thumbs.db ehthumbs.db desktop.ini $recycle.bin @eadir @tmp #recycle #snapshot __macosx lost+found"
) | {
    "icon\r",
    "system volume information",
}
# What the standard library's table of types does not know. Of an unknown suffix `prepare` reads the content.
_OTHER = _words(
    "docx docm dotx xlsx xlsm pptx odt ods odp odg pages numbers key epub mobi azw3 pdf djvu "
    "md rst log ini cfg conf yaml yml toml lock sql db db3 sqlite sqlite3 sqlite-wal "
    "sqlite-shm sqlite-journal mdb zip 7z rar gz bz2 xz zst tgz tbz2 txz jar war apk ipa deb "
    "rpm dmg iso img vhd vmdk qcow2 bak old orig swp exe dll msi sys bat cmd ps1 lnk url "
    "webloc torrent ttf otf woff woff2 eot rs go java kt swift rb php pl lua jsx tsx vue scss "
    "less wasm class ipynb parquet npy npz h5 pt pth onnx safetensors bin dat pickle pkl svg "
    "svgz ico icns cur eps ai indd cdr dwg dxf stl obj blend fbx gltf glb dng cr2 cr3 crw nef "
    "nrw arw sr2 srf orf rw2 raf pef srw x3f 3fr iiq mrw kdc raw mid midi kar gpx kml kmz tcx "
    "fit ics vcf eml msg mbox asc sig md5 sha1 sha256 par2 sfv license"
)
_PLAIN_NAMES = _words(
    "readme license licence copying authors changelog changes contributing install makefile "
    "dockerfile procfile gemfile rakefile vagrantfile jenkinsfile notice todo version"
)
# Endings that other files have too, as TypeScript: the content decides.
_AMBIGUOUS = _words("ts mts rm dv au snd")
_types = mimetypes.MimeTypes(filenames=())

Skipped = Literal["hidden", "system", "sidecar", "unfinished", "unsupported"]


def claims_medium(name: str) -> bool:
    """Whether the name alone says that the file is a photo, video or recording."""
    suffix = ending(name)[1:]
    return suffix in SUFFIXES and suffix not in _AMBIGUOUS


def ending(name: str) -> str:
    """The lower-case ending of a name with its dot, as `.pdf`; empty where it has none."""
    stem, dot, suffix = name.lower().rpartition(".")
    return dot + suffix if stem else ""


def reason_to_skip(name: str) -> Skipped | None:
    """Why a file of this name is not submitted, or None where it may be a medium.

    A suffix of `SUFFIXES` is taken at its word. A file without a suffix, or with one that nothing else is
    known to have, may be a medium as well: people lose endings, and only `prepare` may look inside.
    """
    if reason := hidden_or_system(name):
        return reason
    _, dot, suffix = name.lower().rpartition(".")
    if not dot:
        return "unsupported" if suffix in _PLAIN_NAMES else None
    return None if suffix in SUFFIXES else _of_suffix(suffix)


def hidden_or_system(name: str) -> Literal["hidden", "system"] | None:
    """Why a file or folder is passed over whatever it holds, or None."""
    if name.startswith("."):
        return "hidden"
    lower = name.lower()
    return "system" if lower in _SYSTEM or lower.startswith("~$") or lower.endswith("~") else None


@lru_cache(maxsize=4096)
def _of_suffix(suffix: str) -> Skipped | None:
    if suffix in _UNFINISHED:
        return "unfinished"
    if suffix in _SIDECARS:
        return "sidecar"
    kind = _types.guess_type("x." + suffix)[0] or ""
    other = suffix in _OTHER or kind.startswith(("text/", "application/", "font/", "model/", "message/"))
    return "unsupported" if other else None


def excluding(path: str, is_folder: bool, patterns: tuple[str, ...]) -> str | None:
    """The first pattern that excludes the file or folder at `path` below the root, or None.

    A glob with a slash in it is compared with the path, any other with the name. One that ends with a slash
    excludes folders only.
    """
    name = path.rpartition("/")[2]
    for pattern in patterns:
        glob = pattern.rstrip("/")
        if pattern != glob and not is_folder:
            continue
        if fnmatch.fnmatchcase(path if "/" in glob else name, glob):
            return pattern
    return None
