from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from core.clientes import ddd

A_DAY = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)

HOURS_FROM_UTC = {
    "AC": -5,
    "AM": -4,
    "MS": -4,
    "MT": -4,
    "RO": -4,
    "RR": -4,
}


def test_there_are_67_area_codes_in_27_states():
    assert len(ddd.DDDS) == 67
    assert {uf for uf, _ in ddd.DDDS.values()} == ddd.UFS
    assert len(ddd.UFS) == 27


@pytest.mark.parametrize("code", sorted(ddd.DDDS))
def test_the_hour_of_an_area_is_the_hour_of_its_state(code):
    uf, zone = ddd.DDDS[code]
    assert A_DAY.astimezone(ZoneInfo(zone)).utcoffset() == timedelta(hours=HOURS_FROM_UTC.get(uf, -3))


@pytest.mark.parametrize(
    ("telefone", "zone"),
    [
        ("5511900000001", "America/Sao_Paulo"),
        ("5568900000001", "America/Rio_Branco"),
        ("5569900000001", "America/Porto_Velho"),
        ("5592900000001", "America/Manaus"),
        ("5597900000001", "America/Manaus"),
        ("5595900000001", "America/Boa_Vista"),
        ("5565900000001", "America/Cuiaba"),
        ("5567900000001", "America/Campo_Grande"),
        ("5571900000001", "America/Bahia"),
        ("551130000001", "America/Sao_Paulo"),
    ],
)
def test_the_recipients_zone_comes_from_the_area_code(telefone, zone):
    assert ddd.zone_for(telefone) == ZoneInfo(zone)


@pytest.mark.parametrize(("code", "uf"), [("81", "PE"), ("91", "PA"), ("93", "PA")])
def test_areas_the_phone_library_puts_in_another_zone_are_three_hours_behind_utc(code, uf):
    assert ddd.uf_for(f"55{code}900000001") == uf
    zone = ddd.zone_for(f"55{code}900000001")
    assert A_DAY.astimezone(zone).utcoffset() == timedelta(hours=-3)


def test_a_foreign_number_has_brasilias_window():
    assert ddd.zone_for("14155552671") == ZoneInfo("America/Sao_Paulo")
    assert ddd.uf_for("14155552671") is None
