"""What must hold whoever writes, raw SQL included."""

from django.db import migrations

SQL = """
CREATE SEQUENCE fila_token_seq;

ALTER TABLE fila_mensagens ADD CONSTRAINT fila_metadata_is_object CHECK (jsonb_typeof(metadata) = 'object');

CREATE TRIGGER campanhas_updated_at BEFORE UPDATE ON campanhas
    FOR EACH ROW EXECUTE FUNCTION toca_updated_at();
CREATE TRIGGER conversations_updated_at BEFORE UPDATE ON conversations
    FOR EACH ROW EXECUTE FUNCTION toca_updated_at();
CREATE TRIGGER conversation_context_updated_at BEFORE UPDATE ON conversation_context
    FOR EACH ROW EXECUTE FUNCTION toca_updated_at();

CREATE FUNCTION fila_completa_linha() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.telefone_destino = '' THEN
        NEW.telefone_destino := (SELECT telefone FROM clientes WHERE id = NEW.cliente_id);
    END IF;
    NEW.agendar_para := coalesce(NEW.agendar_para, agora());
    NEW.agendada_originalmente_para := NEW.agendar_para;
    NEW.expira_em := coalesce(NEW.expira_em, greatest(NEW.created_at, NEW.agendar_para) + interval '24 hours');
    RETURN NEW;
END $$;
CREATE TRIGGER fila_completa BEFORE INSERT ON fila_mensagens
    FOR EACH ROW EXECUTE FUNCTION fila_completa_linha();

CREATE FUNCTION fila_avisa() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM novas WHERE status = 'pendente' AND agendar_para <= agora()) THEN
        PERFORM pg_notify('julia_fila', '');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER fila_avisa_nova AFTER INSERT ON fila_mensagens REFERENCING NEW TABLE AS novas
    FOR EACH STATEMENT EXECUTE FUNCTION fila_avisa();

-- Every way back to `pendente`: a row with an open attempt becomes `incerta` (it may be on the wire), a sent row stays
-- sent, and campaign and opt-out are read again. The application takes the locks first; raw SQL gets the same reading.
CREATE FUNCTION fila_guarda_volta() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := agora();
    IF NEW.status <> 'pendente' OR OLD.status = 'pendente' THEN
        RETURN NEW;
    END IF;
    IF NEW.tentativa_aberta_id IS NOT NULL THEN
        NEW.status := 'incerta';
        RETURN NEW;
    END IF;
    IF OLD.status = 'enviada' THEN
        RAISE EXCEPTION 'mensagem % já foi enviada: para escrever de novo, reprocesse (cria outra linha)', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
    NEW.lease_ate := NULL;
    NEW.lease_owner := '';
    IF NEW.campanha_id IS NOT NULL
        AND (SELECT status FROM campanhas WHERE id = NEW.campanha_id) = 'cancelada' THEN
        NEW.status := 'cancelada';
        NEW.outcome_reason_code := 'campanha_cancelada';
        NEW.outcome_at := agora();
    ELSIF NEW.tipo NOT IN ('resposta', 'confirmacao_opt_out', 'manual', 'aviso_handoff')
        AND (SELECT permission_state FROM doctor_state WHERE cliente_id = NEW.cliente_id) = 'opted_out' THEN
        NEW.status := 'bloqueada';
        NEW.outcome := 'BLOCKED_OPTED_OUT';
        NEW.outcome_reason_code := 'opted_out';
        NEW.outcome_at := agora();
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER fila_volta_guardada BEFORE UPDATE ON fila_mensagens
    FOR EACH ROW EXECUTE FUNCTION fila_guarda_volta();

CREATE FUNCTION campanha_avisa() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = 'ativa' THEN
        PERFORM pg_notify('julia_fila', '');
    ELSE
        PERFORM pg_notify('julia_parar', 'campanha:' || NEW.id);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER campanhas_avisa AFTER UPDATE OF status ON campanhas
    FOR EACH ROW WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION campanha_avisa();
"""

REVERSE = """
DROP TRIGGER campanhas_avisa ON campanhas;
DROP FUNCTION campanha_avisa();
DROP TRIGGER fila_volta_guardada ON fila_mensagens;
DROP FUNCTION fila_guarda_volta();
DROP TRIGGER fila_avisa_nova ON fila_mensagens;
DROP FUNCTION fila_avisa();
DROP TRIGGER fila_completa ON fila_mensagens;
DROP FUNCTION fila_completa_linha();
DROP TRIGGER conversation_context_updated_at ON conversation_context;
DROP TRIGGER conversations_updated_at ON conversations;
DROP TRIGGER campanhas_updated_at ON campanhas;
ALTER TABLE fila_mensagens DROP CONSTRAINT fila_metadata_is_object;
DROP SEQUENCE fila_token_seq;
"""


class Migration(migrations.Migration):
    dependencies = [("fila", "0001_initial"), ("guardrails", "0002_triggers"), ("chips", "0003_triggers")]
    operations = [migrations.RunSQL(SQL, REVERSE)]
