"""The clock and the `updated_at` trigger that every table of ours uses; they must exist before the first table."""

from django.db import migrations

SQL = """
CREATE OR REPLACE FUNCTION agora() RETURNS timestamptz
    LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT clock_timestamp()';

CREATE OR REPLACE FUNCTION toca_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := agora();
    RETURN NEW;
END $$;
"""

REVERSE = """
DROP FUNCTION toca_updated_at();
DROP FUNCTION agora();
"""


class Migration(migrations.Migration):
    dependencies = []
    run_before = [("chips", "0001_initial"), ("guardrails", "0001_initial"), ("fila", "0001_initial")]
    operations = [migrations.RunSQL(SQL, REVERSE)]
