"""Text that is not UTF-8: letters come out right, or the candidates are named."""

# ruff: noqa: RUF001 - words of many languages

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.data.csv import reader as csv_source
from penstock.data.table import read_table
from penstock.errors import InputError, ReadingError
from penstock.records.dataset import Dataset

Read = Callable[..., Dataset]

WORDS = {
    "pl": "Łódź Kraków Wałbrzych Żagań Świnoujście Gdańsk Poznań Rzeszów Częstochowa",
    "cs": "Plzeň Příbram Budějovice Hradec Ústí Děčín Třebíč Zlín Kroměříž Jihlava",
    "hu": "Győr Debrecen Székesfehérvár Pécs Hódmezővásárhely Kőszeg Szolnok",
    "ro": "Braşov Iaşi Galaţi Constanţa Timişoara Bucureşti Ploieşti Bacău",
    "ru": "Москва Казань Тула Екатеринбург Пермь Омск Самара",
    "uk": "Київ Львів Одеса Харків Дніпро Запоріжжя Чернівці",
    "el": "Αθήνα Θεσσαλονίκη Πάτρα Ηράκλειο Λάρισα Βόλος",
    "tr": "İstanbul İzmir Eskişehir Diyarbakır Şanlıurfa Muğla Çorum Kırşehir",
    "lt": "Šiauliai Panevėžys Klaipėda Kėdainiai Mažeikiai Tauragė Utena Plungė",
    "de": "München Köln Düsseldorf Nürnberg Würzburg Fürth Straße",
    "fr": "Célibataire Marié Divorcé Première Père",
    "es": "Málaga Córdoba Cádiz España Logroño Ávila",
    "pt": "São Não João Ribeirão",
    "sv": "Malmö Göteborg Västerås Örebro Umeå Gävle Skellefteå",
    "da": "København Århus Ålborg Sønderborg Næstved Køge",
    "mixed": "Größe Ångström naïve façade brûlée",
    "ja": "東京 大阪 名古屋 札幌 福岡",
    "zh": "北京 上海 廣州 深圳",
    "signs": "€5 10° ½ It’s 20°C",
}
CASES = [
    *((language, "cp1250") for language in ("pl", "cs", "hu", "ro")),
    *(("ru", encoding) for encoding in ("cp1251", "koi8-r", "iso8859-5", "cp866")),
    *(("pl", "iso8859-2"), ("uk", "cp1251"), ("el", "cp1253"), ("tr", "cp1254"), ("lt", "cp1257")),
    *((lang, "cp1252") for lang in ("de", "fr", "es", "pt", "sv", "da", "mixed", "signs")),
    *(("de", "mac-roman"), ("ja", "shift_jis"), ("zh", "gb18030"), ("zh", "big5")),
    *(("pl", "utf-16-le"), ("ja", "utf-16-be")),
]


def text_of(words: str) -> str:
    rows = (f"{word};{n};{n % 2}\n" for n, word in enumerate(words.split() * 3))
    return "name;n;y\n" + "".join(rows)


@pytest.mark.parametrize(("language", "encoding"), CASES)
def test_letters_come_out_right_and_the_guess_is_said(
    language: str, encoding: str, tmp_path: Path, read: Read, output: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text_of(WORDS[language]).encode(encoding))

    dataset = read(path)

    assert read_table(output)["name"].to_pylist() == WORDS[language].split() * 3
    (said,) = dataset.assumptions
    assert said.risk == "high"
    assert said.setting.startswith("encoding: ")
    if "utf-16" not in encoding:
        assert any(word in said.text for word in WORDS[language].split())


def test_json_lines_are_read_alike(tmp_path: Path, read: Read, output: Path) -> None:
    path = tmp_path / "t.jsonl"
    lines = [json.dumps({"a": word}, ensure_ascii=False) for word in WORDS["pl"].split()]
    path.write_bytes("\n".join(lines).encode("cp1250"))

    assert "cp1250" in read(path).assumptions[0].text
    assert read_table(output)["a"].to_pylist() == WORDS["pl"].split()


@pytest.mark.parametrize("words", ["Plzeň Zlín", "Poreč Čakovec Đakovo"])
def test_what_can_be_read_two_ways_is_refused_with_both(
    words: str, tmp_path: Path, read: Read, output: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text_of(words).encode("cp1250"))

    with pytest.raises(ReadingError, match="its encoding is not certain") as caught:
        read(path)

    word = words.split()[0]
    assert f"cp1250: '{word}'" in caught.value.what
    assert f"cp1252: '{word.encode('cp1250').decode('cp1252')}'" in caught.value.what
    read(path, **caught.value.proposal)
    assert read_table(output)["name"].to_pylist() == words.split() * 3


def test_an_encoding_that_is_named_is_no_guess(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text_of(WORDS["pl"]).encode("cp1250"))

    assert read(path, encoding="cp1250").assumptions == ()


@pytest.mark.parametrize("far", [False, True])
def test_a_damaged_byte_makes_no_text_another_encoding(
    far: bool, tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    if far:
        monkeypatch.setattr(csv_source, "BLOCK", 64)
        monkeypatch.setattr(csv_source, "_FIRST", 64)
    rows = text_of("Größe naïve Łódź") + "plain;1;1\n" * (150_000 if far else 5)
    path = tmp_path / "t.csv"
    path.write_bytes(rows.encode() + b"Gr\xf6\xdfe;1;1\n")

    with pytest.raises(InputError, match=r"UTF-8, (but for|as the text above)") as caught:
        read(path)
    assert not isinstance(caught.value, ReadingError)


def test_files_of_one_source_have_one_encoding(tmp_path: Path, read: Read, output: Path) -> None:
    for number, words in enumerate(("Kraków Rzym", "Łódź Świdnica Żagań Gdańsk Częstochowa")):
        (tmp_path / f"{number}.csv").write_bytes(text_of(words).encode("cp1250"))
    (tmp_path / "2.csv").write_bytes(text_of("Größe").encode("cp1252"))

    dataset = read(tmp_path / "*.csv")

    assert {note.rpartition("encoding ")[2].split()[0] for note in dataset.notes} == {"cp1250"}
    assert {"Łódź", "Kraków", "Größe"} <= set(read_table(output)["name"].to_pylist())
