"""Characters that several tokens share are rendered once."""

from hypothesis import given
from hypothesis import strategies as st

from workbench.compare.messages import Token
from workbench.compare.token_text import TextSpan, text_of, text_spans


def told(data: bytes, number: int = 0) -> Token:
    """A token of these bytes, as the scorer tells of it."""
    try:
        return Token(id=number, text=data.decode())
    except UnicodeDecodeError:
        return Token(id=number, text="".join(f"⟨{byte:02X}⟩" for byte in data), data=data.hex())


def test_a_character_in_four_tokens_is_one_piece() -> None:
    tokens = [told(b"a "), *(told(bytes([byte])) for byte in "🙂".encode()), told(b"!")]
    assert text_spans(tokens) == [TextSpan("a ", 0, 0), TextSpan("🙂", 1, 4), TextSpan("!", 5, 5)]
    assert [piece.last - piece.first for piece in text_spans(tokens)][1] > 0


def test_characters_that_overlap_in_tokens_are_one_piece() -> None:
    data = "日本".encode()
    tokens = [told(data[:2]), told(data[2:4]), told(data[4:])]
    assert text_spans(tokens) == [TextSpan("日本", 0, 2)]


def test_bytes_that_are_no_text_stay_spelled_out() -> None:
    tokens = [told(b"\xf0"), told(b"\x9f"), told(b"x"), told(b"\xff"), told(b"\xc3"), told(b"\xa9")]
    assert [piece.text for piece in text_spans(tokens)] == ["⟨F0⟩", "⟨9F⟩", "x", "⟨FF⟩", "é"]


@given(st.text(max_size=30), st.lists(st.integers(1, 4), min_size=120, max_size=120))
def test_any_text_cut_anywhere_comes_back(text: str, sizes: list[int]) -> None:
    text = text.encode("utf-8", "ignore").decode()
    data, tokens = text.encode(), []
    for size in sizes:
        if data:
            tokens.append(told(data[:size]))
            data = data[size:]
    assert text_of(tokens) == text
    covered = [place for piece in text_spans(tokens) for place in range(piece.first, piece.last + 1)]
    assert covered == list(range(len(tokens)))


@given(st.lists(st.binary(min_size=1, max_size=3), max_size=20))
def test_no_token_is_lost_whatever_its_bytes(data: list[bytes]) -> None:
    tokens = [told(each) for each in data]
    covered = [place for piece in text_spans(tokens) for place in range(piece.first, piece.last + 1)]
    assert covered == list(range(len(tokens)))
