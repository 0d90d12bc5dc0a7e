from django.db import migrations

SQL = """
CREATE TRIGGER clientes_updated_at BEFORE UPDATE ON clientes
    FOR EACH ROW EXECUTE FUNCTION toca_updated_at();
CREATE TRIGGER app_settings_updated_at BEFORE UPDATE ON app_settings
    FOR EACH ROW EXECUTE FUNCTION toca_updated_at();

-- The person's zone follows from the area code, whoever writes the row (the table is core/clientes/ddd.py).
CREATE FUNCTION cliente_fuso() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.fuso := CASE WHEN left(NEW.telefone, 2) <> '55' THEN 'America/Sao_Paulo' ELSE CASE
            WHEN substr(NEW.telefone, 3, 2) IN ('63') THEN 'America/Araguaina'
            WHEN substr(NEW.telefone, 3, 2) IN ('71', '73', '74', '75', '77') THEN 'America/Bahia'
            WHEN substr(NEW.telefone, 3, 2) IN ('91', '94', '96') THEN 'America/Belem'
            WHEN substr(NEW.telefone, 3, 2) IN ('95') THEN 'America/Boa_Vista'
            WHEN substr(NEW.telefone, 3, 2) IN ('67') THEN 'America/Campo_Grande'
            WHEN substr(NEW.telefone, 3, 2) IN ('65', '66') THEN 'America/Cuiaba'
            WHEN substr(NEW.telefone, 3, 2) IN ('83', '84', '85', '86', '88', '89', '98', '99') THEN 'America/Fortaleza'
            WHEN substr(NEW.telefone, 3, 2) IN ('79', '82') THEN 'America/Maceio'
            WHEN substr(NEW.telefone, 3, 2) IN ('92', '97') THEN 'America/Manaus'
            WHEN substr(NEW.telefone, 3, 2) IN ('69') THEN 'America/Porto_Velho'
            WHEN substr(NEW.telefone, 3, 2) IN ('81', '87') THEN 'America/Recife'
            WHEN substr(NEW.telefone, 3, 2) IN ('68') THEN 'America/Rio_Branco'
            WHEN substr(NEW.telefone, 3, 2) IN ('93') THEN 'America/Santarem'
            ELSE 'America/Sao_Paulo' END END;
    RETURN NEW;
END $$;
CREATE TRIGGER clientes_fuso BEFORE INSERT OR UPDATE OF telefone ON clientes
    FOR EACH ROW EXECUTE FUNCTION cliente_fuso();
"""

REVERSE = """
DROP TRIGGER clientes_fuso ON clientes;
DROP FUNCTION cliente_fuso();
DROP TRIGGER app_settings_updated_at ON app_settings;
DROP TRIGGER clientes_updated_at ON clientes;
"""


class Migration(migrations.Migration):
    dependencies = [("core", "0002_initial")]
    operations = [migrations.RunSQL(SQL, REVERSE)]
