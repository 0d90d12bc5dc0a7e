from django.db import migrations

SQL = """
CREATE TRIGGER chips_updated_at BEFORE UPDATE ON chips
    FOR EACH ROW EXECUTE FUNCTION toca_updated_at();

-- An attempt moves only forward. A late positive proof may overturn "not sent"; nothing moves away from accepted.
CREATE FUNCTION tentativa_so_avanca() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.resultado = 'desconhecido' AND NEW.resultado = 'iniciado')
        OR (OLD.resultado = 'rejeitado' AND NEW.resultado <> 'enviado')
        OR OLD.resultado = 'enviado' THEN
        RAISE EXCEPTION 'tentativa % já está como %: não volta para %', OLD.id, OLD.resultado, NEW.resultado
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tentativas_so_avancam BEFORE UPDATE OF resultado ON envios_tentativas
    FOR EACH ROW WHEN (OLD.resultado IS DISTINCT FROM NEW.resultado) EXECUTE FUNCTION tentativa_so_avanca();

CREATE FUNCTION avisa_chip_parado() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('julia_parar', 'chip:' || NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER chips_avisa_parado AFTER UPDATE OF status, evolution_connected, bloqueio_manual ON chips
    FOR EACH ROW WHEN ((OLD.status = 'active' AND NEW.status <> 'active')
        OR (OLD.evolution_connected AND NOT NEW.evolution_connected)
        OR (NEW.bloqueio_manual AND NOT OLD.bloqueio_manual))
    EXECUTE FUNCTION avisa_chip_parado();

CREATE FUNCTION avisa_caixa() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('julia_caixa', '');
    RETURN NULL;
END $$;
CREATE TRIGGER webhook_eventos_avisa AFTER INSERT ON webhook_eventos
    FOR EACH STATEMENT EXECUTE FUNCTION avisa_caixa();
"""

REVERSE = """
DROP TRIGGER webhook_eventos_avisa ON webhook_eventos;
DROP FUNCTION avisa_caixa();
DROP TRIGGER chips_avisa_parado ON chips;
DROP FUNCTION avisa_chip_parado();
DROP TRIGGER tentativas_so_avancam ON envios_tentativas;
DROP FUNCTION tentativa_so_avanca();
DROP TRIGGER chips_updated_at ON chips;
"""


class Migration(migrations.Migration):
    dependencies = [("chips", "0002_initial"), ("core", "0003_triggers")]
    operations = [migrations.RunSQL(SQL, REVERSE)]
