"""Roles and rights: each role includes the one before, and repeating the set-up undoes what was changed by hand."""

from itertools import pairwise

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.exceptions import PermissionDenied

from core.rights import Right, Role, has_right, require, rights_of, sync_roles
from tests.julia import backoffice


def test_each_role_includes_the_one_before() -> None:
    roles = list(Role)
    for lower, higher in pairwise(roles):
        assert rights_of(lower) < rights_of(higher)


def test_every_right_belongs_to_some_role() -> None:
    assert rights_of(Role.ADMINISTRACAO) == frozenset(Right)


@pytest.mark.parametrize("right", [Right.BYPASS, Right.CHIP_DESBLOQUEAR, Right.CHIP_LIMITES])
def test_bypass_unblock_and_limits_begin_with_supervisao(right: Right) -> None:
    assert right not in rights_of(Role.OPERACAO)
    assert right in rights_of(Role.SUPERVISAO)


@pytest.mark.django_db
def test_setting_up_twice_changes_nothing_and_undoes_changes_by_hand() -> None:
    sync_roles()
    group = Group.objects.get(name=Role.LEITURA.value)
    group.permissions.clear()
    sync_roles()
    assert {each.codename for each in group.permissions.all()} == {Right.VER.value}
    assert Group.objects.filter(name__in=Role.values).count() == len(Role)


@pytest.mark.django_db
def test_a_role_has_its_rights_and_no_other() -> None:
    user = User.objects.get(pk=backoffice.user(Role.OPERACAO).pk)
    assert {right for right in Right if has_right(user, right)} == rights_of(Role.OPERACAO)


@pytest.mark.django_db
def test_an_inactive_user_has_no_right() -> None:
    user = backoffice.user(Role.ADMINISTRACAO)
    user.is_active = False
    user.save()
    assert not has_right(User.objects.get(pk=user.pk), Right.VER)


@pytest.mark.django_db
def test_a_stranger_has_no_right() -> None:
    with pytest.raises(PermissionDenied):
        require(AnonymousUser(), Right.VER)
