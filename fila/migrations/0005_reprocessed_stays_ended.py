from django.db import migrations

# The guard of 0004 and one rule more: a message whose replacement exists never goes out again itself, whoever puts it
# back (evidence that comes late, an operator's SQL).
GUARD = """
CREATE OR REPLACE FUNCTION fila_guarda_volta() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := agora();
    IF NEW.status <> 'pendente' OR OLD.status = 'pendente' THEN
        RETURN NEW;
    END IF;
    IF NEW.tentativa_aberta_id IS NOT NULL THEN
        NEW.status := 'incerta';
        RETURN NEW;
    END IF;
    IF OLD.status = 'enviada' AND (NOT EXISTS (SELECT 1 FROM envios_tentativas t WHERE t.origem = 'fila' AND t.origem_id = OLD.id
            AND t.resultado = 'enviado')
        OR EXISTS (SELECT 1 FROM envios_tentativas t WHERE t.origem = 'fila' AND t.origem_id = OLD.id
            AND t.resultado <> 'rejeitado' AND t.nao_entregue_em IS NULL)) THEN
        RAISE EXCEPTION 'mensagem % já foi enviada: para escrever de novo, reprocesse (cria outra linha)', OLD.id
            USING ERRCODE = 'check_violation';
    END IF;
--REPLACED--
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
"""
REPLACED = """    IF EXISTS (SELECT 1 FROM fila_mensagens n WHERE n.reprocessa_de_id = OLD.id) THEN
        NEW.status := 'erro';
        NEW.lease_ate := NULL;
        NEW.lease_owner := '';
        NEW.outcome_reason_code := 'reprocessada';
        NEW.outcome_at := agora();
        RETURN NEW;
    END IF;"""


class Migration(migrations.Migration):
    dependencies = [("fila", "0004_undelivered_may_return")]
    operations = [migrations.RunSQL(GUARD.replace("--REPLACED--", REPLACED), GUARD.replace("--REPLACED--\n", ""))]
