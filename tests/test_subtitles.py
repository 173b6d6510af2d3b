"""Subtitles: phrases that fit a screen, and the two formats."""

from __future__ import annotations

from mediaflow.media.subtitles import Word, phrases, srt, text_of, vtt, with_marks


def spoken(text: str, seconds: float = 0.3) -> list[Word]:
    return [Word(at * seconds, (at + 1) * seconds, f" {word}") for at, word in enumerate(text.split())]


def test_words_become_sentences() -> None:
    said = [text_of(phrase) for phrase in phrases(spoken("It rains. We stay at home! Why not?"))]
    assert said == ["It rains.", "We stay at home!", "Why not?"]


def test_a_mark_that_is_a_word_of_its_own_ends_the_sentence() -> None:
    parts = [" It", " rains", ".", " Well", "-known", ",", ' "', "Why", "?", '"']
    words = with_marks(Word(at, at + 0.5, part) for at, part in enumerate(parts))
    assert [word.text for word in words] == [" It", " rains.", " Well", "-known,", ' "', 'Why?"']
    assert (words[1].start, words[1].end) == (1, 2.5)
    assert text_of(phrases(words)[0]) == "It rains."


def test_a_number_with_a_dot_does_not_end_a_sentence() -> None:
    assert [text_of(phrase) for phrase in phrases(spoken("Am 3. Mai regnet es."))] == ["Am 3. Mai regnet es."]


def test_a_pause_ends_a_phrase() -> None:
    words = [Word(0, 0.5, " one"), Word(0.5, 1, " two"), Word(4, 4.5, " three")]
    assert [text_of(phrase) for phrase in phrases(words)] == ["one two", "three"]


def test_a_long_sentence_is_cut_at_a_comma_and_nothing_is_lost() -> None:
    text = "word " * 12 + "comma, " + "word " * 14 + "end."
    parts = phrases(spoken(text))
    assert len(parts) > 1
    assert text_of(parts[0]).endswith("comma,")
    assert all(len(text_of(part)) <= 84 and part[-1].end - part[0].start <= 7 for part in parts)
    assert " ".join(map(text_of, parts)) == text.strip()


def test_srt_numbers_its_blocks_and_writes_milliseconds_after_a_comma() -> None:
    segments = [
        {"start": 0, "end": 1.5, "text": "One"},
        {"start": 3661.25, "end": 3662, "text": "Two\n--> three"},
    ]
    assert srt(segments) == (
        "1\n00:00:00,000 --> 00:00:01,500\nOne\n\n2\n01:01:01,250 --> 01:01:02,000\nTwo → three\n"
    )


def test_vtt_has_its_header_and_escapes_markup() -> None:
    assert vtt([{"start": 0.5, "end": 1, "text": "a < b & c"}]) == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.000\na &lt; b &amp; c\n"
    )


def test_nothing_said_is_a_valid_file() -> None:
    assert srt([]) == ""
    assert vtt([]) == "WEBVTT\n"
