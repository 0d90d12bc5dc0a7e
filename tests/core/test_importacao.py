import csv
import io
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clientes import importacao
from core.clientes.csv_records import UnusableFile
from core.clientes.ddd import uf_for
from core.clientes.importacao import (
    ParsedRow,
    RejectedRow,
    neutralise,
    read_rows,
    write_rejected,
)

DEMO = Path(importacao.__file__).parent / "demo" / "medicos.csv"
ANA = "5511900000001"
BIA = "5521900000002"


def rows_of(text: str | bytes, mapa=None):
    content = text.encode() if isinstance(text, str) else text
    return list(read_rows(io.BytesIO(content), mapa))


def only(text: str | bytes, mapa=None):
    (row,) = rows_of(text, mapa)
    return row


def refusal(text: str | bytes, mapa=None) -> str:
    with pytest.raises(UnusableFile) as error:
        rows_of(text, mapa)
    return str(error.value)


# Columns


def test_a_row_is_read_by_the_names_of_its_columns():
    row = only(
        "nome;telefone;especialidade;cidade;estado;regiao;tags\n"
        "Dra. Ana Souza;(11) 90000-0001;Cardiologia;São Paulo;sp;Sudeste;piloto, plantão|piloto\n"
    )
    assert row == ParsedRow(
        linha=2,
        telefone=ANA,
        nome="Dra. Ana Souza",
        primeiro_nome="Ana",
        sobrenome="Souza",
        especialidade="Cardiologia",
        cidade="São Paulo",
        estado="SP",
        regiao="Sudeste",
        tags=("piloto", "plantão"),
    )


def test_telefone_is_the_only_mandatory_column():
    row = only(f"telefone\n{ANA}\n")
    assert (row.telefone, row.nome, row.estado, row.tags) == (ANA, "", "", ())


@pytest.mark.parametrize("header", ["TELEFONE;Região;Primeiro Nome", "Telefone ; regiao; primeiro-nome"])
def test_column_names_disregard_case_accents_and_spacing(header):
    row = only(f"{header}\n{ANA};Sul;Dra. Ana\n")
    assert (row.telefone, row.regiao, row.primeiro_nome, row.nome) == (ANA, "Sul", "Ana", "Ana")


def test_given_first_name_and_surname_are_not_overruled_by_the_full_name():
    row = only(f"telefone;nome;primeiro_nome;sobrenome\n{ANA};Dra. Ana Maria Souza;Ana Maria;Souza\n")
    assert (row.nome, row.primeiro_nome, row.sobrenome) == ("Dra. Ana Maria Souza", "Ana Maria", "Souza")


def test_a_column_with_another_name_is_mapped():
    row = only(f"Celular 1;Médico\n{ANA};Ana\n", {"celular 1": "telefone", "medico": "nome"})
    assert (row.telefone, row.nome) == (ANA, "Ana")


def test_a_mapped_column_wins_over_the_one_with_the_fields_name():
    reader = read_rows(io.BytesIO(f"telefone;celular\n1130000001;{ANA}\n".encode()), {"celular": "telefone"})
    assert reader.ignoradas == ("telefone",)
    assert [row.telefone for row in reader if isinstance(row, ParsedRow)] == [ANA]


def test_unknown_columns_are_named_and_ignored():
    reader = read_rows(io.BytesIO(f"telefone;CRM;nome;e-mail;\n{ANA};123;Ana;x;\n".encode()))
    assert reader.colunas == ("telefone", "CRM", "nome", "e-mail", "")
    assert reader.ignoradas == ("CRM", "e-mail")
    assert isinstance(next(reader), ParsedRow)


def test_a_wrong_header_is_refused_with_the_columns_found_and_the_columns_expected():
    message = refusal(f"fone;medico\n{ANA};Ana\n")
    assert "Colunas no arquivo: fone, medico." in message
    assert "Colunas aceitas: telefone, nome, primeiro_nome" in message
    assert "--mapa coluna=telefone" in message


def test_a_file_without_header_is_refused_without_repeating_the_data():
    message = refusal(f"{ANA};Ana Souza\n{BIA};Bia\n")
    assert "A primeira linha parece ter dados" in message
    assert "Ana" not in message
    assert ANA not in message


@pytest.mark.parametrize(
    ("header", "mapa", "said"),
    [
        ("telefone;nome;Telefone", {}, "Coluna repetida"),
        ("telefone;fone", {"celular": "telefone"}, "não está no arquivo. Colunas no arquivo: telefone, fone."),
        ("telefone;fone", {"fone": "celular"}, "não existe. Campos aceitos: telefone,"),
        ("a;b", {"a": "telefone", "b": "telefone"}, "duas colunas para o mesmo campo"),
    ],
)
def test_an_ambiguous_or_impossible_mapping_is_refused(header, mapa, said):
    assert said in refusal(f"{header}\n", mapa)


# The file


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_the_delimiter_is_found_from_the_header(delimiter):
    text = f"telefone;nome;cidade\n{ANA};Ana;Natal\n".replace(";", delimiter)
    assert only(text).cidade == "Natal"


def test_a_comma_inside_a_quoted_column_name_does_not_decide_the_delimiter():
    row = only(f'telefone;"nome, completo, do, médico"\n{ANA};Ana\n', {"nome, completo, do, médico": "nome"})
    assert row.nome == "Ana"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "windows-1252", "latin-1"])
def test_accents_survive_every_accepted_encoding(encoding):
    content = f"telefone;nome;região\n{ANA};Conceição Ávila;SÃO JOÃO\n".encode(encoding)
    row = only(content)
    assert (row.nome, row.regiao) == ("Conceição Ávila", "SÃO JOÃO")


@pytest.mark.parametrize("order", ["le", "be"])
def test_utf_16_with_bom_is_read_in_either_byte_order(order):
    content = "\ufeff".encode(f"utf-16-{order}") + f"telefone\tnome\r\n{ANA}\tJosé\r\n".encode(f"utf-16-{order}")
    assert only(content).nome == "José"


def test_a_file_pasted_together_from_two_encodings_reads_well():
    content = b"telefone;nome\n" + f"{ANA};José\n".encode() + f"{BIA};Inês\n".encode("windows-1252")
    assert [row.nome for row in rows_of(content)] == ["José", "Inês"]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_line_ending_is_a_line(ending):
    text = f"telefone;nome\n{ANA};Ana\n{BIA};Bia\n".replace("\n", ending)
    assert [(row.linha, row.nome) for row in rows_of(text)] == [(2, "Ana"), (3, "Bia")]


def test_the_last_line_needs_no_line_ending():
    assert only(f"telefone;nome\n{ANA};Ana").nome == "Ana"


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n\r\n  \n"])
def test_an_empty_file_is_refused(content):
    assert "vazio" in refusal(content)


def test_a_header_alone_is_a_file_without_rows():
    assert rows_of("telefone;nome\n") == []


def test_a_spreadsheet_is_refused_by_name():
    assert "planilha do Excel" in refusal(b"PK\x03\x04 whatever")


@pytest.mark.parametrize("content", [b"\x81\x8d\x8f\x90\x9d", b"\x00\x01\x02", "telefone;nome\n".encode("utf-16-le")])
def test_a_file_that_is_not_text_is_refused(content):
    assert "não é um texto legível" in refusal(content)


def test_the_stream_stays_open_for_its_owner():
    stream = io.BytesIO(f"telefone\n{ANA}\n".encode())
    list(read_rows(stream))
    assert not stream.closed


def test_reading_is_lazy():
    """A file of any size costs the memory of a few rows."""

    class Endless(io.RawIOBase):
        def __init__(self):
            self.served = 0

        def readable(self):
            return True

        def readinto(self, buffer):
            line = b"telefone\n" if not self.served else f"{ANA}\n".encode()
            self.served += 1
            buffer[: len(line)] = line
            return len(line)

    reader = read_rows(cast(BinaryIO, Endless()))
    assert [next(reader).linha for _ in range(5)] == [2, 3, 4, 5, 6]


# Line numbers and quotes


def test_a_quoted_line_break_stays_in_its_cell_and_the_line_numbers_stay_right():
    first, second = rows_of(f'telefone;nome\n{ANA};"Ana\r\nMaria\nSouza"\n{BIA};Bia\n')
    assert (first.linha, first.nome) == (2, "Ana Maria Souza")
    assert (second.linha, second.nome) == (5, "Bia")


def test_blank_rows_are_not_rows_but_count_as_lines():
    rows = rows_of(f"\n\ntelefone;nome\n\n;\n  ;  \n{ANA};Ana\n")
    assert [row.linha for row in rows] == [7]


def test_a_quote_that_never_closes_costs_its_own_line_only():
    wrong, bia, caio = rows_of(f'telefone;nome\n{ANA};"Ana\n{BIA};Bia\n5531900000003;Caio\n')
    assert (wrong.linha, wrong.codigo, wrong.celulas) == (2, "aspas", (ANA, '"Ana'))
    assert (bia.linha, bia.nome) == (3, "Bia")
    assert (caio.linha, caio.nome) == (4, "Caio")


def test_a_quote_closed_by_the_next_rows_quote_swallows_nothing():
    wrong, bia = rows_of(f'telefone;nome\n{ANA};"Ana\n{BIA};"Bia"\n')
    assert (wrong.linha, wrong.codigo) == (2, "aspas")
    assert (bia.linha, bia.nome) == (3, "Bia")


def test_a_quote_that_never_closes_in_a_long_file_costs_its_own_line_only():
    lines = [f"{5511900000000 + number};Ana" for number in range(5000)]
    lines[10] = f'{ANA};"Ana'
    rows = rows_of("telefone;nome\n" + "\n".join(lines))
    assert [row.linha for row in rows if isinstance(row, RejectedRow)] == [12]
    assert len(rows) == 5000


def test_quotes_inside_a_cell_are_text():
    assert only(f'telefone;nome\n{ANA};Ana "Aninha" Souza\n').nome == 'Ana "Aninha" Souza'
    assert only(f'telefone;nome\n{ANA};"Ana ""Aninha"" Souza"\n').nome == 'Ana "Aninha" Souza'


# Rows that are refused


@pytest.mark.parametrize(
    ("line", "codigo", "motivo"),
    [
        (f"{ANA};Ana", "celulas", "a linha tem 2 células e o cabeçalho tem 3: confira separadores e aspas"),
        (f"{ANA}", "celulas", "a linha tem 1 célula e o cabeçalho tem 3: confira separadores e aspas"),
        (f"{ANA};Ana;SP;x", "celulas", "a linha tem 4 células e o cabeçalho tem 3: confira separadores e aspas"),
        ("90000-0001;Ana;SP", "sem_ddd", "telefone sem DDD"),
        (";Ana;SP", "vazio", "telefone vazio"),
        ("11 9OOOO-0001;Ana;SP", "letras", "telefone com letras"),
        ("100000000000001@lid;Ana;SP", "lid", "não é telefone"),
        (f"{ANA};Ana;São Paulo", "estado", "estado deve ser a sigla de duas letras, por exemplo SP"),
        (f"{ANA};Ana;XX", "estado", "estado deve ser a sigla"),
        (f"{ANA};{'a' * 256};SP", "celula_longa", "mais de 255 caracteres em: nome"),
        (f"{ANA};A\0na;SP", "ilegivel", "caracteres ilegíveis"),
        (f"{ANA};Jos\ufffd;SP", "ilegivel", "caracteres ilegíveis"),
    ],
)
def test_a_row_is_refused_with_its_line_its_cells_and_the_reason(line, codigo, motivo):
    row = only(f"telefone;nome;estado\n{line}\n")
    assert isinstance(row, RejectedRow)
    assert (row.linha, row.codigo) == (2, codigo)
    assert motivo in row.motivo
    assert row.celulas == tuple(line.replace("\0", "\u2400").split(";"))


def test_a_byte_no_encoding_knows_refuses_its_row_and_not_the_file():
    wrong, bia = rows_of(b"telefone;nome\n" + ANA.encode() + b";Jos\x81\n" + f"{BIA};Bia\n".encode())
    assert wrong.codigo == "ilegivel"
    assert bia.nome == "Bia"


def test_everything_wrong_with_a_row_is_said_at_once():
    row = only(f"telefone;nome;estado\n90000-0001;{'a' * 300};SSP\n")
    assert row.codigo == "sem_ddd"
    assert row.motivo.count("; ") == 2


def test_255_characters_are_accepted_and_256_are_not():
    assert isinstance(only(f"telefone;nome\n{ANA};{'é' * 255}\n"), ParsedRow)
    assert isinstance(only(f"telefone;nome\n{ANA};{'é' * 256}\n"), RejectedRow)


def test_a_long_cell_is_refused_in_a_column_nobody_asked_for_too():
    assert only(f"telefone;observações\n{ANA};{'a' * 256}\n").motivo == "mais de 255 caracteres em: observações"


def test_a_tag_has_at_most_64_characters():
    assert only(f"telefone;tags\n{ANA};{'a' * 65}\n").codigo == "tag_longa"


def test_a_full_name_made_of_two_cells_has_at_most_255_characters():
    row = only(f"telefone;primeiro_nome;sobrenome\n{ANA};{'a' * 200};{'b' * 200}\n")
    assert row.motivo == "nome completo com mais de 255 caracteres"


def test_empty_cells_beyond_the_header_are_no_reason_to_refuse():
    assert only(f"telefone;nome\n{ANA};Ana;;\n").nome == "Ana"


# Spreadsheets


@pytest.mark.parametrize("cell", ["=1+1", "+55 11 90000-0001", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_never_opens_as_a_formula(cell):
    assert neutralise(cell) == f"'{cell}"


def test_other_text_is_exported_as_it_is():
    assert neutralise("d'Ávila = 1") == "d'Ávila = 1"


def test_rejected_rows_can_be_corrected_and_imported_again(tmp_path):
    rejected = [
        row
        for row in rows_of(f"telefone;nome;crm\n+55 11 90000;=Ana;77\n{ANA};Bia\n{BIA};Caio;5;x\n")
        if isinstance(row, RejectedRow)
    ]
    path = tmp_path / "rejeitados.csv"
    assert write_rejected(path, rejected) == 3

    with path.open(encoding="utf-8-sig", newline="") as file:
        written = list(csv.reader(file, delimiter=";"))
    assert written[0] == ["linha", "motivo", "telefone", "nome", "crm"]
    assert written[1][0] == "2"
    assert written[1][2:] == ["'+55 11 90000", "'=Ana", "77"]
    assert written[2][2:] == [ANA, "Bia"]
    assert written[3][2:] == [BIA, "Caio", "5", "x"]

    corrected = path.read_bytes().replace(b"'+55 11 90000", b"'+55 11 90000-0001")
    first, *_ = rows_of(corrected)
    assert (first.telefone, first.nome) == (ANA, "=Ana")


def test_rejecting_a_corrected_file_again_does_not_pile_up_line_and_reason(tmp_path):
    once, twice = tmp_path / "once.csv", tmp_path / "twice.csv"
    write_rejected(once, rows_of("telefone\n9\n"))
    write_rejected(twice, rows_of(once.read_bytes()))
    assert twice.read_text("utf-8-sig").splitlines()[0] == '"linha";"motivo";"telefone"'
    assert twice.read_text("utf-8-sig").splitlines()[1].startswith('"2"')


def test_no_rejected_rows_leave_a_file_with_the_header_only(tmp_path):
    path = tmp_path / "rejeitados.csv"
    assert write_rejected(path, [], colunas=("telefone", "nome")) == 0
    assert path.read_text("utf-8-sig").splitlines() == ['"linha";"motivo";"telefone";"nome"']


# Demonstration data


def test_the_demonstration_file_has_300_rows_of_invented_doctors_and_a_few_mistakes():
    with DEMO.open("rb") as stream:
        rows = list(read_rows(stream))
    good = [row for row in rows if isinstance(row, ParsedRow)]
    mistakes = [row.codigo for row in rows if isinstance(row, RejectedRow)]
    assert len(rows) == 300
    assert mistakes == [
        "sem_ddd",
        "letras",
        "ddd_invalido",
        "vazio",
        "celula_longa",
        "notacao_cientifica",
        "estado",
    ]
    assert len(good) - len({row.telefone for row in good}) == 1
    assert {row.telefone[4:9] for row in good} == {"90000", "96000"}
    assert {row.telefone[9] for row in good} == {"0"}
    assert {uf_for(row.telefone) for row in good} == {row.estado for row in good}


plain_cells = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffd"), max_size=30)


@given(st.lists(st.tuples(st.integers(0, 9999), plain_cells), min_size=1, max_size=20))
def test_what_a_csv_writer_writes_is_what_is_read(people):
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["telefone", "nome"])
    writer.writerows((f"(11) 90000-{number:04}", name) for number, name in people)
    rows = rows_of(file.getvalue())
    assert [row.telefone for row in rows] == [f"551190000{number:04}" for number, _ in people]


@given(st.binary(max_size=300))
def test_any_bytes_give_rows_or_one_clear_refusal(content):
    try:
        rows = rows_of(b"telefone;nome\n" + content)
    except UnusableFile:
        return
    assert all(isinstance(row, ParsedRow | RejectedRow) for row in rows)
