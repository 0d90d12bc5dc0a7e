from django.db import migrations

# A sent message stays sent, with one exception: every attempt of it that may have left was proved not delivered.
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
    IF OLD.status = 'enviada' AND %s THEN
        RAISE EXCEPTION 'mensagem %% já foi enviada: para escrever de novo, reprocesse (cria outra linha)', OLD.id
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
"""
# A row that somebody called `enviada` without any attempt stays as it is: nothing proves that it was not sent.
NOT_PROVED = """(NOT EXISTS (SELECT 1 FROM envios_tentativas t WHERE t.origem = 'fila' AND t.origem_id = OLD.id
            AND t.resultado = 'enviado')
        OR EXISTS (SELECT 1 FROM envios_tentativas t WHERE t.origem = 'fila' AND t.origem_id = OLD.id
            AND t.resultado <> 'rejeitado' AND t.nao_entregue_em IS NULL))"""


class Migration(migrations.Migration):
    dependencies = [("fila", "0003_sending_under_faults"), ("chips", "0004_sending_under_faults")]
    operations = [migrations.RunSQL(GUARD % NOT_PROVED, GUARD % "true")]
