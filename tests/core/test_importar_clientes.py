import io
import threading
from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from core.clientes import services
from core.clientes.csv_records import UnusableFile
from core.clientes.importacao import RejectedRow, read_rows, write_rejected
from core.clientes.models import Cliente, Importacao, ImportacaoRejeitada
from guardrails.models import DoctorState

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 3, 13, 0, tzinfo=UTC)
ANA = "5511900000001"
BIA = "5521900000002"
CAIO = "5531900000003"


def importar(text: str | bytes, **options):
    content = text.encode() if isinstance(text, str) else text
    return services.importar(
        io.BytesIO(content), **{"nome_arquivo": "medicos.csv", "actor": "operadora", "now": NOW, **options}
    )


def counts(report):
    return (report.linhas, report.novos, report.duplicados, report.atualizados, report.rejeitados)


def cliente(telefone: str) -> Cliente:
    return Cliente.objects.get(telefone=telefone)


# The service


def test_a_good_row_becomes_a_cliente_with_everything_derived_from_it():
    report = importar(
        "telefone;nome;especialidade;cidade;estado;regiao;tags\n"
        "(92) 90000-0001;Dra. Conceição Ávila;Cardiologia;Manaus;am;Norte;piloto|plantão\n"
    )
    assert counts(report) == (1, 1, 0, 0, 0)
    row = cliente("5592900000001")
    assert (row.nome, row.primeiro_nome, row.sobrenome) == ("Dra. Conceição Ávila", "Conceição", "Ávila")
    assert row.nome_busca == "conceicao avila"
    assert (row.especialidade, row.cidade, row.estado, row.regiao) == ("Cardiologia", "Manaus", "AM", "Norte")
    assert row.tags == ["piloto", "plantão"]
    assert row.fuso == "America/Manaus"
    assert row.origem == "importacao"
    assert row.status_telefone == Cliente.StatusTelefone.PENDENTE
    assert DoctorState.objects.filter(cliente=row).exists()


def test_the_import_itself_is_a_row_with_its_counts_and_who_asked():
    report = importar(f"telefone;nome\n{ANA};Ana\n{ANA};Ana\n9;x\n", mapa={"nome": "nome"})
    row = Importacao.objects.get(pk=report.importacao_id)
    assert (row.linhas, row.novos, row.duplicados, row.atualizados, row.rejeitados) == (3, 1, 1, 0, 1)
    assert (row.nome_arquivo, row.criado_por, row.status) == ("medicos.csv", "operadora", "concluida")
    assert row.mapa == {"nome": "nome"}
    assert row.iniciado_em == NOW
    assert row.concluido_em is not None
    assert row.correlation_id


def test_an_announced_import_keeps_its_row():
    announced = Importacao.objects.create(nome_arquivo="do painel.csv", status=Importacao.Status.PROCESSANDO)
    report = importar(f"telefone\n{ANA}\n", importacao=announced)
    announced.refresh_from_db()
    assert report.importacao_id == announced.pk
    assert (announced.status, announced.novos, announced.nome_arquivo) == ("concluida", 1, "do painel.csv")


def test_rejected_rows_are_kept_with_line_cells_and_reason():
    report = importar(f'telefone;nome\n{ANA};"Ana\nMaria"\n90000-0001;Bia\n{CAIO};C\0;x\n')
    stored = ImportacaoRejeitada.objects.filter(importacao=report.importacao_id)
    assert [(row.linha, row.codigo) for row in stored] == [(4, "sem_ddd"), (5, "celulas")]
    assert stored[0].celulas == {"colunas": ["telefone", "nome"], "celulas": ["90000-0001", "Bia"]}
    assert stored[0].motivo.startswith("telefone sem DDD")
    assert tuple(services.rejeitadas(Importacao.objects.get())) == report.rejeitadas


def test_a_report_shows_the_first_rejected_rows_and_counts_and_keeps_them_all():
    seen: list[RejectedRow] = []
    report = importar("telefone\n" + "9\n" * (services.REPORTED_ROWS + 5), on_rejected=seen.append)
    assert report.rejeitados == len(seen) == ImportacaoRejeitada.objects.count() == services.REPORTED_ROWS + 5
    assert report.rejeitadas == tuple(seen[: services.REPORTED_ROWS])


def test_stored_rejected_rows_can_be_exported_corrected_and_imported(tmp_path):
    importar("telefone;nome\n90000-0001;=Ana\n")
    path = tmp_path / "recusadas.csv"
    write_rejected(path, services.rejeitadas(Importacao.objects.get()))
    corrected = path.read_bytes().replace(b"90000-0001", b"+55 (11) 90000-0001")
    assert counts(importar(corrected)) == (1, 1, 0, 0, 0)
    assert cliente(ANA).nome == "=Ana"


# People already known


def test_the_same_person_twice_in_a_file_is_one_cliente_with_the_empty_fields_filled():
    report = importar(
        "telefone;nome;especialidade;cidade;tags\n"
        f"{ANA};;Cardiologia;;\n"
        f"(11) 90000-0001;Ana Souza;Pediatria;Santos;a\n"
        f"+{ANA};Ana Lima;;Campinas;b\n"
    )
    assert counts(report) == (3, 1, 2, 0, 0)
    row = cliente(ANA)
    assert (row.nome, row.sobrenome, row.nome_busca) == ("Ana Souza", "Souza", "ana souza")
    assert (row.especialidade, row.cidade, row.tags) == ("Cardiologia", "Santos", ["a"])


def test_with_atualizar_the_last_filled_cell_of_a_file_counts():
    importar(
        "telefone;nome;especialidade;cidade;tags\n"
        f"{ANA};Ana Souza;Cardiologia;Santos;a\n"
        f"{ANA};Ana Lima;;Campinas;b\n"
        f"{ANA};;;;\n",
        atualizar=True,
    )
    row = cliente(ANA)
    assert (row.nome, row.especialidade, row.cidade, row.tags) == ("Ana Lima", "Cardiologia", "Campinas", ["b"])


def test_the_ninth_digit_does_not_make_two_people():
    assert counts(importar("telefone\n(11) 9000-0001\n11 99000-0001\n")) == (2, 1, 1, 0, 0)


def test_a_person_already_in_the_table_only_has_empty_fields_filled():
    importar(f"telefone;nome;cidade\n{ANA};Ana Souza;\n")
    report = importar(f"telefone;nome;cidade;tags\n{ANA};Outra Pessoa;Santos;a\n")
    assert counts(report) == (1, 0, 1, 1, 0)
    row = cliente(ANA)
    assert (row.nome, row.primeiro_nome, row.nome_busca) == ("Ana Souza", "Ana", "ana souza")
    assert (row.cidade, row.tags) == ("Santos", ["a"])


def test_the_name_counts_as_one_field():
    """A surname is never taken from a row with another first name."""
    importar(f"telefone;nome\n{ANA};Ana\n")
    importar(f"telefone;nome\n{ANA};Beatriz Lima\n")
    assert (cliente(ANA).nome, cliente(ANA).sobrenome) == ("Ana", "")


def test_with_atualizar_filled_cells_overwrite_and_empty_cells_never_erase():
    importar(f"telefone;nome;cidade;especialidade;tags\n{ANA};Ana Souza;Santos;Cardiologia;a\n")
    report = importar(f"telefone;nome;cidade;especialidade;tags\n{ANA};Ana Lima;;Pediatria;b,c\n", atualizar=True)
    assert counts(report) == (1, 0, 1, 1, 0)
    row = cliente(ANA)
    assert (row.nome, row.sobrenome, row.nome_busca) == ("Ana Lima", "Lima", "ana lima")
    assert (row.cidade, row.especialidade, row.tags) == ("Santos", "Pediatria", ["b", "c"])


@pytest.mark.parametrize("atualizar", [False, True])
def test_importing_a_file_again_changes_nothing(atualizar):
    text = f"telefone;nome;cidade;tags\n{ANA};Ana;Santos;a\n{BIA};Bia;;\n{ANA};Ana;Santos;a\n9;x;;\n"
    importar(text)
    before = list(Cliente.objects.order_by("telefone").values())
    assert counts(importar(text, atualizar=atualizar)) == (4, 0, 3, 0, 1)
    assert list(Cliente.objects.order_by("telefone").values()) == before


def test_duplicates_are_reported_with_the_row_they_repeat():
    importar(f"telefone\n{ANA}\n")
    report = importar(f"telefone\n{BIA}\n{ANA}\n{BIA}\n{ANA}\n")
    assert [(row.linha, row.primeira) for row in report.duplicadas] == [(3, None), (4, 2), (5, 3)]


def test_a_deleted_person_stays_deleted_and_unchanged():
    Cliente.objects.create(telefone=ANA, nome="", deleted_at=NOW)
    assert counts(importar(f"telefone;nome\n{ANA};Ana\n", atualizar=True)) == (1, 0, 1, 0, 0)
    assert (cliente(ANA).nome, cliente(ANA).deleted_at) == ("", NOW)


def test_an_import_never_touches_an_opt_out():
    importar(f"telefone\n{ANA}\n")
    DoctorState.objects.update(permission_state="opted_out")
    importar(f"telefone;nome\n{ANA};Ana\n", atualizar=True)
    assert DoctorState.objects.get(cliente__telefone=ANA).permission_state == "opted_out"


# All or nothing


@pytest.mark.parametrize("atualizar", [False, True])
def test_a_dry_run_counts_what_the_import_will_do_and_writes_nothing(atualizar):
    importar(f"telefone;nome;cidade\n{ANA};Ana;\n{BIA};Bia;Rio\n")
    text = f"telefone;nome;cidade\n{ANA};Ana;Santos\n{BIA};Bia;Niterói\n{CAIO};Caio;\n{CAIO};;\n9;x;\n"
    before = list(Cliente.objects.order_by("telefone").values())

    dry = importar(text, atualizar=atualizar, dry_run=True)
    assert dry.importacao_id is None
    assert list(Cliente.objects.order_by("telefone").values()) == before
    assert Importacao.objects.count() == 1
    assert not ImportacaoRejeitada.objects.exists()

    real = importar(text, atualizar=atualizar)
    assert counts(dry) == counts(real) == (5, 1, 3, 2 if atualizar else 1, 1)
    assert (dry.rejeitadas, dry.duplicadas) == (real.rejeitadas, real.duplicadas)


def test_a_failure_halfway_leaves_nothing_behind():
    class Broken(io.BytesIO):
        def readinto(self, buffer):
            raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        importar_stream(Broken(b"telefone\n"))

    def explode(row):
        raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        importar(f"telefone\n{ANA}\n9\n", on_rejected=explode)
    assert not Cliente.objects.exists()
    assert not Importacao.objects.exists()


def importar_stream(stream):
    return services.importar(stream, nome_arquivo="x.csv", actor="operadora", now=NOW)


def test_an_unusable_file_leaves_nothing_behind():
    with pytest.raises(UnusableFile):
        importar("fone\n1\n")
    assert not Importacao.objects.exists()


def test_text_that_looks_like_sql_copy_or_markup_is_kept_as_text():
    nome = r"\N \. Ana '); DROP TABLE clientes; -- <b>\t"
    importar(f'telefone;nome;tags\n{ANA};"{nome}";"a""b\\|%s"\n')
    assert cliente(ANA).nome == nome
    assert cliente(ANA).tags == ['a"b\\', "%s"]


def test_every_field_at_its_limit_fits_its_column():
    long = "ç" * 255
    report = importar(
        "telefone;nome;primeiro_nome;sobrenome;especialidade;cidade;estado;regiao;tags\n"
        f"+491700000000000;{long};{long};{long};{long};{long};SP;{long};{'t' * 64}\n"
        f"{ANA};{long};{long};{long};{long};{long};SP;{long};{'t' * 64}\n"
        f"{BIA};ﷺﷺﷺ{'ﷺ' * 250};;;;;;;\n"
    )
    assert report.novos >= 2


@pytest.mark.django_db(transaction=True)
def test_two_imports_of_the_same_people_at_once_make_each_person_once():
    lines = [f"55119{number:08}" for number in range(2000)]
    reports = []

    def run(order):
        try:
            reports.append(importar("telefone\n" + "\n".join(order)))
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(order,)) for order in (lines, lines[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.novos for report in reports) == [0, 2000]
    assert sorted(report.duplicados for report in reports) == [0, 2000]
    assert Cliente.objects.count() == 2000


# The command


@pytest.fixture
def arquivo(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "medicos.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def command(*args, **options) -> str:
    out = io.StringIO()
    call_command("importar_clientes", *map(str, args), stdout=out, **options)
    return out.getvalue()


def said(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_command_reports_counts_duplicates_and_reasons_by_line(arquivo):
    out = command(arquivo(f"telefone;nome;CRM\n{ANA};Ana;1\n{ANA};Ana;1\n90000-0001;Bia;2\n"))
    lines = said(out)
    for line in ("linhas 3", "novos 1", "duplicados 1", "atualizados 0", "rejeitados 1"):
        assert line in lines
    assert "linha 3: mesmo telefone da linha 2" in lines
    assert any(line.startswith("linha 4: telefone sem DDD") for line in lines)
    assert "Colunas sem uso aqui: CRM." in lines
    assert "900000001" not in out
    assert "Bia" not in out


def test_a_dry_run_says_so_and_writes_nothing(arquivo):
    assert "Simulação: nada foi gravado." in command(arquivo(f"telefone\n{ANA}\n"), "--dry-run")
    assert not Cliente.objects.exists()


def test_the_rejected_rows_of_a_dry_run_are_written_too(arquivo, tmp_path):
    saida = tmp_path / "recusadas.csv"
    command(arquivo("telefone\n9\n"), "--dry-run", "--rejeitados", saida)
    with saida.open("rb") as stream:
        assert [row.celulas[2] for row in read_rows(stream) if isinstance(row, RejectedRow)] == ["9"]


def test_a_corrected_file_of_rejected_rows_can_be_imported_again(arquivo, tmp_path):
    saida = tmp_path / "recusadas.csv"
    command(arquivo(f"telefone;nome\n{ANA};Ana\n90000-0002;Bia\n"), "--rejeitados", saida)
    saida.write_bytes(saida.read_bytes().replace(b"90000-0002", b"21 90000-0002"))
    assert "novos 1" in said(command(saida))
    assert cliente(BIA).nome == "Bia"


def test_without_rejected_rows_an_old_output_is_replaced_by_an_empty_one(arquivo, tmp_path):
    saida = tmp_path / "recusadas.csv"
    saida.write_text("velho")
    command(arquivo(f"telefone;nome\n{ANA};Ana\n"), "--rejeitados", saida)
    assert saida.read_text("utf-8-sig").splitlines() == ['"linha";"motivo";"telefone";"nome"']


def test_a_mapped_column_is_read_by_the_command(arquivo):
    command(arquivo(f"Celular;Médico\n{ANA};Ana\n"), "--mapa", "celular=telefone", "--mapa", "medico=nome")
    assert cliente(ANA).nome == "Ana"


def test_atualizar_overwrites_by_command(arquivo):
    command(arquivo(f"telefone;cidade\n{ANA};Santos\n"))
    assert "atualizados 1" in said(command(arquivo(f"telefone;cidade\n{ANA};Campinas\n"), "--atualizar"))
    assert cliente(ANA).cidade == "Campinas"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("fone;nome\n1;Ana\n", "Não há uma coluna telefone. Colunas no arquivo: fone, nome."),
        ("", "O arquivo está vazio"),
        (b"PK\x03\x04", "planilha do Excel"),
    ],
)
def test_an_unusable_file_ends_with_exit_code_2_and_changes_nothing(arquivo, tmp_path, content, message):
    saida = tmp_path / "recusadas.csv"
    saida.write_text("velho")
    with pytest.raises(CommandError, match=message) as error:
        command(arquivo(content), "--rejeitados", saida)
    assert error.value.returncode == 2
    assert str(error.value).endswith("Nada foi importado.")
    assert saida.read_text() == "velho"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["medicos.csv", "recusadas.csv"]


def test_a_missing_file_or_folder_ends_with_exit_code_2(arquivo, tmp_path):
    for args in (
        [tmp_path / "nenhum.csv"],
        [tmp_path],
        [arquivo("telefone\n"), "--rejeitados", tmp_path / "nenhuma" / "x.csv"],
    ):
        with pytest.raises(CommandError, match="Não foi possível abrir") as error:
            command(*args)
        assert error.value.returncode == 2


def test_the_output_never_replaces_the_input(arquivo):
    path = arquivo(f"telefone\n{ANA}\n")
    with pytest.raises(CommandError, match="não pode ser o próprio arquivo"):
        command(path, "--rejeitados", path)
    assert path.read_text().endswith(f"{ANA}\n")


@pytest.mark.parametrize("mapa", ["telefone", "=telefone", "celular="])
def test_a_malformed_mapa_is_explained(arquivo, mapa):
    with pytest.raises(CommandError, match="escreva coluna=campo"):
        command(arquivo("telefone\n"), "--mapa", mapa)
