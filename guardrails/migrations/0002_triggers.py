from django.db import migrations

SQL = """
CREATE FUNCTION cliente_ganha_doctor_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO doctor_state (cliente_id) SELECT id FROM novos ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER clientes_doctor_state AFTER INSERT ON clientes REFERENCING NEW TABLE AS novos
    FOR EACH STATEMENT EXECUTE FUNCTION cliente_ganha_doctor_state();

CREATE TRIGGER doctor_state_updated_at BEFORE UPDATE ON doctor_state
    FOR EACH ROW EXECUTE FUNCTION toca_updated_at();

-- A sender that is about to write listens here: what stopped since its attempt was committed is not sent.
CREATE FUNCTION avisa_opt_out() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('julia_parar', 'pessoa:' || NEW.cliente_id);
    RETURN NULL;
END $$;
CREATE TRIGGER doctor_state_avisa_opt_out AFTER UPDATE OF permission_state ON doctor_state
    FOR EACH ROW WHEN (NEW.permission_state = 'opted_out' AND OLD.permission_state <> 'opted_out')
    EXECUTE FUNCTION avisa_opt_out();
"""

REVERSE = """
DROP TRIGGER doctor_state_avisa_opt_out ON doctor_state;
DROP FUNCTION avisa_opt_out();
DROP TRIGGER doctor_state_updated_at ON doctor_state;
DROP TRIGGER clientes_doctor_state ON clientes;
DROP FUNCTION cliente_ganha_doctor_state();
"""


class Migration(migrations.Migration):
    dependencies = [("guardrails", "0001_initial"), ("core", "0003_triggers")]
    operations = [migrations.RunSQL(SQL, REVERSE)]
