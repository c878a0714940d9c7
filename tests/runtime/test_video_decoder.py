"""Pictures of videos: each once, at its time, in its colours, whole or said to be damaged."""

from __future__ import annotations

import io
import os
import socket
import threading
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from clips import HEIGHT, WIDTH, X264, comb, counted, encode, number_in, overwritten, picture, run_ffmpeg, woven

from physedge_runtime.frame import Damage
from physedge_runtime.sources.deinterlace import Deinterlace
from physedge_runtime.sources.ffmpeg import square_size, turned
from physedge_runtime.sources.video import NotDecodable, Picture, VideoDecoder, decoded_pictures

pytest.importorskip("av", reason="the extra camera is not installed")

INTERLACED = ("-flags", "+ildct+ilme", "-x264opts", "tff=1")
MS = 1_000_000


def decode(path: Path, deinterlace: Deinterlace = Deinterlace.AUTO) -> tuple[VideoDecoder, list[Picture]]:
    decoder, pictures = VideoDecoder(path, deinterlace=deinterlace), []
    while True:
        try:
            made = decoder.read()
        except EOFError:
            decoder.close()
            return decoder, pictures
        assert made is not None
        pictures.append(made)


def numbers(pictures: list[Picture]) -> list[int]:
    return [number_in(one.pixels) for one in pictures]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", X264),
        ("a.ts", (*X264, "-bf", "2")),
        (
            "a.mkv",
            ("-c:v", "libx265", "-x265-params", "log-level=none:pools=1", "-pix_fmt", "yuv420p10le", "-crf", "8"),
        ),
        ("a.avi", ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p")),
        ("a.h264", X264),
        ("a.mpg", ("-c:v", "mpeg2video", "-q:v", "2", "-pix_fmt", "yuv420p")),
        ("10:30 a%03d[1].mkv", ("-c:v", "ffv1", "-pix_fmt", "gray12le")),
    ],
)
def test_every_picture_comes_once_and_in_order(tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    path = tmp_path / name
    encode(path.with_name("made" + path.suffix), counted(12), *options).rename(path)
    decoder, pictures = decode(path)
    assert numbers(pictures) == list(range(12))
    assert [one.number for one in pictures] == list(range(12))
    assert {one.damage for one in pictures} == {Damage.NONE}
    assert not decoder.damage
    assert not decoder.truncated
    for number, one in enumerate(pictures):
        assert one.pixels.flags.c_contiguous
        assert np.abs(one.pixels.astype(int) - picture(number)).mean() < 4


def test_a_name_that_is_not_utf8_is_opened(tmp_path: Path) -> None:
    made = encode(tmp_path / "a.mp4", counted(3))
    name = os.fsdecode(os.fsencode(str(tmp_path)) + b"/h\xe9lice.mp4")
    made.rename(name)
    assert numbers(decode(Path(name))[1]) == [0, 1, 2]


def test_a_picture_that_is_larger_than_any_is_not_decoded(tmp_path: Path) -> None:
    """Its head states the size; the memory for it is never asked for."""
    large = np.zeros((64, 64, 3), np.uint8)
    path = encode(tmp_path / "a.avi", [large], "-vf", "scale=9216:8192", "-c:v", "png", "-pix_fmt", "gray")
    decoder, pictures = decode(path)
    assert pictures == []
    assert decoder.damage == {"packets": 1}


def test_bytes_in_memory_are_decoded_as_a_file_is(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.ts", "a.h264"):
        path = encode(tmp_path / name, counted(6))
        for content in (path.read_bytes(), io.BytesIO(path.read_bytes()), path):
            assert numbers(list(decoded_pictures(content))) == list(range(6))
    with pytest.raises(NotDecodable):
        list(decoded_pictures(b"no video at all" * 100))


@pytest.mark.parametrize("codec", [X264, ("-c:v", "mpeg2video", "-q:v", "2", "-pix_fmt", "yuv420p")])
def test_interlaced_pictures_are_deinterlaced_and_never_repeated(tmp_path: Path, codec: tuple[str, ...]) -> None:
    options = (*codec, "-flags", "+ildct+ilme", *(("-x264opts", "tff=1") if codec is X264 else ("-top", "1")))
    path = encode(tmp_path / "i.ts", woven(16), *options)
    decoder, pictures = decode(path)
    assert numbers(pictures) == list(range(16))
    assert decoder.notes == ["interlaced video, deinterlaced (bwdif)"]
    times = [one.time_ns for one in pictures]
    assert [b - a for a, b in pairwise(times) if a is not None and b is not None] == [40 * MS] * 15
    assert max(comb(one.pixels) for one in pictures[1:-1]) < 3
    left, as_it_is = decode(path, Deinterlace.OFF)
    assert numbers(as_it_is) == list(range(16))
    assert left.notes == ["interlaced video, left as it is"]
    assert min(comb(one.pixels) for one in as_it_is[1:-1]) > 5
    for number, one in enumerate(as_it_is):
        assert np.abs(one.pixels.astype(int) - woven(16)[number]).mean() < 4


def test_a_video_that_is_interlaced_in_its_middle_alone_keeps_its_order(tmp_path: Path) -> None:
    parts = [(0, ()), (8, INTERLACED), (16, ())]
    made = [
        encode(tmp_path / f"{first}.h264", counted(8, first), *X264, *options).read_bytes() for first, options in parts
    ]
    (tmp_path / "mixed.h264").write_bytes(b"".join(made))
    decoder, pictures = decode(tmp_path / "mixed.h264")
    assert numbers(pictures) == list(range(24))
    assert decoder.notes == ["interlaced video, deinterlaced (bwdif)"]


def test_a_single_interlaced_picture_comes_out(tmp_path: Path) -> None:
    assert len(decode(encode(tmp_path / "one.mp4", woven(1), *X264, *INTERLACED))[1]) == 1


def test_times_are_those_of_the_presentation(tmp_path: Path) -> None:
    times = r"settb=1/1000,setpts=if(lt(N\,10)\,40*N\,400+120*(N-10))"
    path = encode(tmp_path / "a.mkv", counted(20), "-vf", times, "-fps_mode", "vfr", *X264, "-bf", "2")
    expected = [40 * MS * n if n < 10 else (400 + 120 * (n - 10)) * MS for n in range(20)]
    assert [one.position_ns for one in decode(path)[1]] == expected
    later = encode(tmp_path / "a.ts", counted(5))
    pictures = decode(later)[1]
    assert [one.position_ns for one in pictures] == [40 * MS * n for n in range(5)]
    assert pictures[0].time_ns is not None
    assert pictures[0].time_ns > 1000 * MS, "a transport stream does not begin at 0, and its own stamp is kept"


def test_a_damaged_packet_is_passed_over_counted_and_what_follows_is_doubtful(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-8, 9, (HEIGHT, WIDTH, 1))
    content = [np.clip(picture(n) + np.roll(noise, n), 0, 255).astype(np.uint8) for n in range(40)]
    whole = encode(tmp_path / "whole.mp4", content, *X264, "-g", "10")
    decoder, pictures = decode(overwritten(whole, 0.55, 3000, tmp_path / "damaged.mp4"))
    assert 37 <= len(pictures) < 41
    bad = [one for one in pictures if one.damage is not Damage.NONE]
    assert bad
    assert decoder.damage["packets"] + decoder.damage["pictures"] > 0
    assert sum(decoder.damage[kind] for kind in ("pictures", "doubtful")) == len(bad)
    undamaged = decode(whole)[1]
    for one in pictures:
        if one.damage is Damage.NONE:
            np.testing.assert_array_equal(one.pixels, undamaged[one.number].pixels)
    after_the_next_key_frame = [one for one in pictures if one.number >= 32]
    assert {one.damage for one in after_the_next_key_frame} == {Damage.NONE}


def test_an_avi_that_lost_a_whole_packet_is_said_to_be_incomplete(tmp_path: Path) -> None:
    """Its demuxer looks for the next chunk without a word; the index at the end of the file knows better."""
    whole = encode(tmp_path / "whole.avi", counted(20), "-c:v", "mpeg4", "-q:v", "2", "-g", "10")
    content = bytearray(whole.read_bytes())
    chunks = [at for at in range(len(content) - 4) if content[at : at + 4] == b"00dc"]
    content[chunks[7] : chunks[7] + 4] = bytes(4)
    (tmp_path / "damaged.avi").write_bytes(content)
    decoder, pictures = decode(tmp_path / "damaged.avi")
    assert len(pictures) == 19
    (missing,) = set(range(20)) - {one.number for one in pictures}
    assert 5 <= missing <= 7
    assert [one.number for one in pictures if one.damage is Damage.BEFORE] == list(range(missing + 1, 10))
    assert [number for one in pictures if one.damage is Damage.NONE for number in [number_in(one.pixels)]] == [
        one.number for one in pictures if one.damage is Damage.NONE
    ]
    assert decoder.damage == {"packets": 1, "doubtful": 9 - missing}
    assert decoder.truncated == "it states 20 pictures and holds 19"


def test_a_torn_picture_of_motion_jpeg_is_not_handed_out(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-8, 9, (HEIGHT, WIDTH, 1))
    noisy = [np.clip(one + noise, 0, 255).astype(np.uint8) for one in counted(20)]
    whole = encode(tmp_path / "whole.avi", noisy, "-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p")
    content = bytearray(whole.read_bytes())
    starts = [at for at in range(len(content) - 2) if content[at : at + 3] == b"\xff\xd8\xff"]
    middle = (starts[7] + starts[8]) // 2
    content[middle : middle + 200] = bytes(200)
    (tmp_path / "damaged.avi").write_bytes(content)
    decoder, pictures = decode(tmp_path / "damaged.avi")
    assert [one.number for one in pictures] == [n for n in range(20) if n != 7]
    assert decoder.damage == {"packets": 1}


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.ts", (*X264, "-x264opts", "repeat-headers=1")),
        ("a.h264", (*X264, "-x264opts", "repeat-headers=1")),
        ("b.ts", ("-c:v", "mpeg4", "-q:v", "2")),
        ("c.ts", ("-c:v", "mpeg2video", "-q:v", "2", "-bf", "2")),
    ],
)
def test_a_stream_that_begins_between_two_key_frames_is_not_damaged(
    tmp_path: Path, name: str, codec: tuple[str, ...]
) -> None:
    """A recorder or a viewer joins somewhere; the pictures begin with the first key frame, none is made of nothing."""
    content = encode(tmp_path / name, counted(30), *codec, "-g", "10").read_bytes()
    (tmp_path / f"late-{name}").write_bytes(content[len(content) // 5 // 188 * 188 :])
    decoder, pictures = decode(tmp_path / f"late-{name}")
    assert numbers(pictures) == list(range(number_in(pictures[0].pixels), 30))
    assert not decoder.damage
    assert not decoder.truncated


def test_other_bits_are_not_found_where_the_format_has_no_checksum_and_the_table_of_faults_says_so(
    tmp_path: Path,
) -> None:
    """HEVC, VP8, VP9 and AV1 decode whatever bits there are; so do Huffyuv and raw video."""
    whole = encode(tmp_path / "whole.avi", counted(10), "-c:v", "huffyuv", "-pix_fmt", "rgb24")
    decoder, pictures = decode(overwritten(whole, 0.5, 40, tmp_path / "damaged.avi"))
    assert len(pictures) == 10
    assert not decoder.damage
    assert any((a.pixels != b.pixels).any() for a, b in zip(pictures, decode(whole)[1], strict=True))
    faults = (Path(__file__).parents[2] / "docs/faults.md").read_text(encoding="utf-8")
    assert "| other bits in HEVC, VP8, VP9, AV1 and formats without a checksum | **not found**" in faults


def test_a_whole_picture_that_is_missing_is_not_found_and_the_table_of_faults_says_so(tmp_path: Path) -> None:
    """One packet left out of a container that does not count them; its decoder copies what it misses."""
    import av

    whole, less = encode(tmp_path / "whole.mkv", counted(20), *X264, "-g", "10"), tmp_path / "less.mkv"
    with av.open(str(whole)) as source, av.open(str(less), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for index, packet in enumerate(packet for packet in source.demux() if packet.size):
            if index != 13:
                packet.stream = stream
                target.mux(packet)
    decoder, pictures = decode(less)
    assert len(pictures) == 19
    assert not decoder.damage
    faults = (Path(__file__).parents[2] / "docs/faults.md").read_text(encoding="utf-8")
    assert "| a whole picture that is missing without a trace, from a stream that states no number" in faults


def test_a_picture_that_could_not_be_decoded_leaves_a_gap_in_the_numbers(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.avi", counted(20), "-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p")
    content = bytearray(whole.read_bytes())
    starts = [at for at in range(len(content) - 2) if content[at : at + 3] == b"\xff\xd8\xff"]
    content[starts[7] : starts[7] + 400] = bytes(400)
    (tmp_path / "damaged.avi").write_bytes(content)
    decoder, pictures = decode(tmp_path / "damaged.avi")
    assert [one.number for one in pictures] == [n for n in range(20) if n != 7]
    assert numbers(pictures) == [n for n in range(20) if n != 7]
    assert decoder.damage == {"packets": 1}


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
def test_a_video_that_is_cut_off_is_said_to_be(tmp_path: Path, name: str) -> None:
    options = ("-movflags", "faststart") if name == "a.mp4" else ()
    whole = encode(tmp_path / name, counted(40), *X264, "-g", "10", *options)
    content = whole.read_bytes()
    (tmp_path / f"cut-{name}").write_bytes(content[: len(content) // 2 + 57])
    decoder, pictures = decode(tmp_path / f"cut-{name}")
    assert 10 < len(pictures) < 30
    assert decoder.truncated or decoder.damage


def test_an_mp4_that_was_cut_between_two_packets_is_said_to_be(tmp_path: Path) -> None:
    """Nothing is damaged then: the index alone knows of the pictures that are missing."""
    whole = encode(tmp_path / "whole.mp4", counted(20), *X264, "-g", "1", "-movflags", "faststart")
    content = whole.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: end_of_packet(whole, 11)])
    decoder, pictures = decode(tmp_path / "cut.mp4")
    assert (len(pictures), dict(decoder.damage)) == (12, {})
    assert decoder.truncated == "it states 20 pictures and holds 12"


def end_of_packet(path: Path, number: int) -> int:
    """Where a packet of a video ends in its file, bytes."""
    import av

    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux() if packet.size][number]
        assert packet.pos is not None
        return packet.pos + packet.size


def test_a_transport_stream_that_was_cut_in_its_last_picture_is_said_to_be(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(-40, 41, (HEIGHT, WIDTH, 3))
    pictures = [np.clip(picture(n) + np.roll(noise, n, 0), 0, 255).astype(np.uint8) for n in range(12)]
    content = encode(tmp_path / "whole.ts", pictures, *X264, "-g", "1").read_bytes()
    (tmp_path / "cut.ts").write_bytes(content[: len(content) // 2 // 188 * 188])
    decoder, made = decode(tmp_path / "cut.ts")
    assert decoder.truncated == "its last picture is incomplete, as in a file that was cut off"
    assert {one.damage for one in made[:-1]} == {Damage.NONE}


def test_a_connection_is_read_as_a_live_stream(tmp_path: Path) -> None:
    """One that is open already: some encoders serve a single viewer, once."""
    content = encode(tmp_path / "i.ts", woven(12), *X264, "-flags", "+ildct+ilme", "-x264opts", "tff=1").read_bytes()
    here, there = socket.socketpair()
    with here, there, here.makefile("rb") as reading:
        sending = threading.Thread(target=lambda: (there.sendall(content), there.shutdown(socket.SHUT_WR)))
        sending.start()
        decoder = VideoDecoder(reading, live=True)
        pictures: list[Picture] = []
        with pytest.raises(EOFError):
            while True:
                if (one := decoder.read()) is not None:
                    pictures.append(one)
        sending.join()
        decoder.close()
    assert numbers(pictures) == list(range(12))
    assert decoder.notes == ["interlaced video, deinterlaced (bwdif)"]
    assert [one.captured_ns for one in pictures] == sorted(one.captured_ns for one in pictures)


def test_a_connection_that_falls_silent_is_lost(tmp_path: Path) -> None:
    content = encode(tmp_path / "a.ts", counted(12), *X264, "-g", "1").read_bytes()
    here, there = socket.socketpair()
    with here, there, here.makefile("rb") as reading:
        there.sendall(content)
        here.settimeout(0.1)
        decoder = VideoDecoder(reading, live=True, options={"probesize": "5000"})
        with pytest.raises(ConnectionError):
            while True:
                decoder.read()
        decoder.close()


def test_a_play_list_does_not_reach_into_the_network(tmp_path: Path) -> None:
    """A file that is handed in as a video may be a list of addresses; nobody is asked for them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/part.ts"
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n"
        (tmp_path / "list.m3u8").write_text(text)
        failed: list[BaseException] = []

        def read() -> None:
            try:
                decode(tmp_path / "list.m3u8")
            except NotDecodable as error:
                failed.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        with pytest.raises(TimeoutError):
            server.accept()
        reader.join()
    assert failed


def test_pixels_that_are_not_square_are_made_square_and_that_is_said(tmp_path: Path) -> None:
    for number, (aspect, size) in enumerate(
        {"16/15": (HEIGHT, 205), "8/9": (144, WIDTH), "1/1": (HEIGHT, WIDTH)}.items()
    ):
        path = encode(tmp_path / f"{number}.mp4", counted(3), "-vf", f"setsar={aspect}", *X264)
        decoder, pictures = decode(path)
        assert {one.pixels.shape[:2] for one in pictures} == {size}
        assert numbers(pictures) == [0, 1, 2]
        assert len(decoder.notes) == (0 if aspect == "1/1" else 1)
    assert square_size(480, 720, Fraction(8, 9)) == (540, 720)
    assert square_size(480, 720, Fraction(1, 1000)) == (480, 720), "what cannot be meant is not applied"


@pytest.mark.parametrize("turn", ["90", "180", "270"])
def test_a_turned_video_comes_upright_as_ffmpeg_turns_it(tmp_path: Path, turn: str) -> None:
    plain = encode(tmp_path / "plain.mp4", counted(2))
    made = tmp_path / "turned.mp4"
    run_ffmpeg("-i", str(plain), "-c", "copy", "-metadata:s:v:0", f"rotate={turn}", str(made))
    by_ffmpeg = np.frombuffer(run_ffmpeg("-i", str(made), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"), np.uint8)
    pictures = decode(made)[1]
    assert pictures[0].pixels.shape[:2] == ((HEIGHT, WIDTH) if turn == "180" else (WIDTH, HEIGHT))
    np.testing.assert_array_equal(by_ffmpeg.reshape(-1, *pictures[0].pixels.shape)[1], pictures[1].pixels)


def test_a_display_matrix_turns_and_mirrors() -> None:
    pixels = np.arange(6).reshape(2, 3)
    assert turned(pixels, (-1, 0, 0, 1)).tolist() == [[2, 1, 0], [5, 4, 3]]
    assert turned(pixels, (1, 0, 0, -1)).tolist() == [[3, 4, 5], [0, 1, 2]]
    assert turned(pixels, (0, 1, -1, 0)).tolist() == [[3, 0], [4, 1], [5, 2]], "a quarter clockwise"
    assert turned(pixels, (0, 1, 1, 0)).tolist() == [[0, 3], [1, 4], [2, 5]]


PATCHES = ((235, 30, 30), (30, 200, 40), (30, 40, 220), (128, 128, 128), (250, 240, 10), (16, 16, 16), (255, 255, 255))


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("span", ["tv", "pc"])
@pytest.mark.parametrize("kind", ["H.264", "interlaced H.264", "HEVC of 10 bits"])
def test_colours_follow_the_streams_matrix_and_range(tmp_path: Path, matrix: str, span: str, kind: str) -> None:
    pixels = np.zeros((64, 32 * len(PATCHES), 3), np.uint8)
    for index, colour in enumerate(PATCHES):
        pixels[:, 32 * index : 32 * (index + 1)] = colour
    tags = ("-colorspace", "smpte170m" if matrix == "bt601" else "bt709", "-color_range", span)
    scale = f"scale=out_color_matrix={matrix}:out_range={span}:flags=accurate_rnd+full_chroma_int"
    codec = (*X264[:-4], "-pix_fmt", "yuv444p", *(INTERLACED if kind == "interlaced H.264" else ()))
    if kind == "HEVC of 10 bits":  # whose pixel format does not say the range, the frame does
        codec = ("-c:v", "libx265", "-x265-params", "log-level=none", "-crf", "4", "-pix_fmt", "yuv444p10le")
    path = encode(tmp_path / "a.mkv", [pixels] * 3, "-vf", scale, *codec, *tags)
    for one in decode(path)[1]:
        for index, colour in enumerate(PATCHES):
            seen = one.pixels[32, 32 * index + 16].astype(int)
            assert np.abs(seen - colour).max() <= 4, (matrix, span, colour, seen)


def test_a_pixel_format_that_changes_in_the_middle_changes_nothing(tmp_path: Path) -> None:
    made = b""
    for first, form in ((0, "yuvj422p"), (4, "yuvj420p"), (8, "yuvj444p")):
        part = tmp_path / f"{first}.mjpeg"
        made += encode(part, counted(4, first), "-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", form).read_bytes()
    (tmp_path / "all.mjpeg").write_bytes(made)
    pictures = decode(tmp_path / "all.mjpeg")[1]
    assert numbers(pictures) == list(range(12))
    assert max(np.abs(one.pixels.astype(int) - picture(n)).mean() for n, one in enumerate(pictures)) < 3


def test_a_size_that_changes_in_the_middle_changes_the_pictures_size(tmp_path: Path) -> None:
    small = encode(tmp_path / "a.h264", counted(4), *X264, *INTERLACED).read_bytes()
    large = encode(tmp_path / "b.h264", [picture(n, 256, 384) for n in range(4, 8)], *X264, *INTERLACED).read_bytes()
    (tmp_path / "all.h264").write_bytes(small + large)
    pictures = decode(tmp_path / "all.h264")[1]
    assert numbers(pictures) == list(range(8))
    assert [one.pixels.shape[0] for one in pictures] == [HEIGHT] * 4 + [256] * 4


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    encode(tmp_path / "cover.png", [picture(0)], "-frames:v", "1")
    sound = ("-f", "lavfi", "-i", "sine=440:duration=0.2", "-i", str(tmp_path / "cover.png"))
    run_ffmpeg(*sound, "-map", "0", "-map", "1", "-disposition:v:0", "attached_pic", str(tmp_path / "a.mp3"))
    with pytest.raises(NotDecodable, match="it holds no video"):
        VideoDecoder(tmp_path / "a.mp3")
