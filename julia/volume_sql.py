"""The statements of `julia.volume`. Temporary tables `volume_*` number what was made: later statements pick from them.

`random()` stands in subqueries with OFFSET 0: they are evaluated once per row and never pulled up.
"""

SENT_PER_DAY = 1_800  # of one campaign: one every 20 s for ten hours from 08:30, Brasília

PEOPLE = """
CREATE TEMP TABLE volume_pessoas ON COMMIT DROP AS
SELECT n, gen_random_uuid() AS id,
       '55' || (%(ddds)s::text[])[1 + n %% x.areas] || '9000' || lpad((10000 + n / x.areas)::text, 5, '0') AS telefone,
       (%(first)s::text[])[i] AS primeiro_nome,
       (%(last)s::text[])[j] || ' ' || (%(last)s::text[])[k] AS sobrenome,
       (%(first_keys)s::text[])[i] || ' ' || (%(last_keys)s::text[])[j] || ' ' || (%(last_keys)s::text[])[k] AS chave,
       (%(specialties)s::text[])[1 + (n * 13 + n / 31) %% 15] AS especialidade,
       (%(capitals)s::text[])[1 + n %% x.areas] AS cidade, (%(ufs)s::text[])[1 + n %% x.areas] AS estado,
       (%(zones)s::text[])[1 + n %% x.areas] AS fuso,
       agora() - (400 - (n %% 390)) * interval '1 day' + n * interval '1 ms' AS criado
FROM (SELECT count(*)::int AS antes FROM clientes WHERE origem = 'volume') v
CROSS JOIN LATERAL generate_series(v.antes, v.antes + %(count)s - 1) n
CROSS JOIN (SELECT cardinality(%(ddds)s::text[]) AS areas) x
CROSS JOIN LATERAL (SELECT 1 + n %% 40 AS i, 1 + (n / 40) %% 50 AS j, 1 + (n / 2000 + n) %% 50 AS k) nomes
"""

PEOPLE_ROWS = """
INSERT INTO clientes (id, telefone, nome, primeiro_nome, sobrenome, nome_busca, especialidade, cidade, estado,
    status_telefone, telefone_validado_em, pressure_score_atual, origem, created_at)
SELECT id, telefone, primeiro_nome || ' ' || sobrenome, primeiro_nome, sobrenome, chave, especialidade, cidade, estado,
    CASE WHEN n %% 50 = 7 THEN 'invalido' WHEN n %% 12 = 5 THEN 'pendente' ELSE 'validado' END,
    CASE WHEN n %% 50 <> 7 AND n %% 12 <> 5 THEN criado + interval '1 day' END, n %% 60, 'volume', criado
FROM volume_pessoas
"""

CHIPS = """
CREATE TEMP TABLE volume_chips ON COMMIT DROP AS
SELECT n, gen_random_uuid() AS id, 'volume_' || lpad(n::text, 3, '0') AS nome,
       '55' || (%(ddds)s::text[])[1 + n %% x.areas] || '91000' || lpad((n / x.areas)::text, 4, '0') AS telefone,
       CASE WHEN n %% 5 = 4 THEN 'z-api' ELSE 'evolution' END AS provider,
       (ARRAY['active', 'active', 'active', 'active', 'active', 'active', 'warming', 'paused', 'ready', 'banned'])
           [1 + n %% 10] AS status,
       row_number() OVER (ORDER BY n %% 10 > 5, n) - 1 AS na_frente
FROM (SELECT count(*)::int AS antes FROM chips WHERE instance_name LIKE 'volume\\_%%') v
CROSS JOIN LATERAL generate_series(v.antes, v.antes + %(count)s - 1) n
CROSS JOIN (SELECT cardinality(%(ddds)s::text[]) AS areas) x
"""

CHIP_ROWS = """
INSERT INTO chips (id, telefone, instance_name, provider, status, webhook_secret, evolution_connected, connection_state,
    trust_score, trust_level, pode_prospectar, pode_followup, limite_hora, limite_dia, warming_day, banned_at)
SELECT id, telefone, nome, provider, status, %(secret)s, c.conectado,
    CASE WHEN c.conectado THEN 'open' ELSE 'close' END,
    65 + n * 7 %% 31, CASE WHEN 65 + n * 7 %% 31 >= 80 THEN 'verde' ELSE 'amarelo' END, true, true, 40, 400, 30,
    CASE WHEN status = 'banned' THEN agora() - interval '12 days' END
FROM volume_chips, LATERAL (SELECT status IN ('active', 'warming', 'ready') AND n %% 20 <> 3 AS conectado) c
"""

CAMPAIGNS = """
CREATE TEMP TABLE volume_campanhas ON COMMIT DROP AS
SELECT nextval(pg_get_serial_sequence('campanhas', 'id')) AS id, c.*, (n * 7919) %% p.pessoas AS salto,
       (date_trunc('day', agora() AT TIME ZONE 'America/Sao_Paulo') - c.dias * interval '1 day' + interval '8.5 hours')
           AT TIME ZONE 'America/Sao_Paulo' AS iniciada
FROM unnest(%(nomes)s::text[], %(tipos)s::text[], %(estados)s::text[], %(dias)s::int[], %(feitas)s::int[],
            %(vencidas)s::int[], %(futuras)s::int[], %(excluidas)s::int[])
     WITH ORDINALITY AS c(nome, tipo, estado, dias, feitas, vencidas, futuras, excluidas, n),
     (SELECT count(*)::int AS pessoas FROM volume_pessoas) p
"""

CAMPAIGN_ROWS = """
INSERT INTO campanhas (id, nome_template, tipo_campanha, status, corpo, corpo_congelado, agendar_para, iniciada_em,
    enfileirada_em, concluida_em, total_destinatarios, excluidas, termina_em, created_by, created_at)
SELECT c.id, c.nome, c.tipo, c.estado, t.texto, CASE WHEN i.foi THEN t.texto ELSE '' END,
    CASE c.estado WHEN 'agendada' THEN agora() + interval '2 days' END,
    CASE WHEN i.foi THEN c.iniciada END, CASE WHEN i.foi THEN c.iniciada + interval '20 s' END,
    CASE WHEN c.estado = 'concluida' THEN
        least(c.iniciada + (1 + c.feitas / %(per_day)s) * interval '1 day', agora()) END,
    c.feitas + c.vencidas + c.futuras,
    CASE WHEN c.excluidas = 0 THEN '{}'::jsonb ELSE jsonb_build_object('opt_out', (c.excluidas + 3) / 4,
        'telefone_invalido', (c.excluidas + 2) / 4, 'limite_7_dias', (c.excluidas + 1) / 4,
        'contato_recente', c.excluidas / 4) END,
    CASE WHEN c.estado = 'ativa' THEN agora() + interval '2 days' END, 'volume', c.iniciada - interval '1 day'
FROM volume_campanhas c,
    LATERAL (SELECT c.estado NOT IN ('agendada', 'rascunho') AS foi) i,
    LATERAL (SELECT 'Oi, {primeiro_nome|doutor(a)}! Tudo bem? Aqui é a Julia, do escritório de escalas. Abrimos '
        'plantões na sua região pela campanha ' || c.n || '. Quer que eu te mande os horários e os valores?' AS texto) t
"""

RECIPIENTS = """
INSERT INTO campanha_destinatarios (campanha_id, cliente_id, ordem, estado, motivo_exclusao, created_at)
SELECT c.id, p.id, k, CASE WHEN k < x.total THEN 'enfileirado' ELSE 'excluido' END,
    CASE WHEN k >= x.total THEN (ARRAY['opt_out', 'telefone_invalido', 'limite_7_dias', 'contato_recente'])
        [1 + (k - x.total) %% 4] END, c.iniciada
FROM volume_campanhas c
CROSS JOIN LATERAL (SELECT c.feitas + c.vencidas + c.futuras AS total) x
CROSS JOIN LATERAL generate_series(0, x.total + c.excluidas - 1) k
CROSS JOIN (SELECT count(*)::int AS pessoas, min(n) AS primeira FROM volume_pessoas) t
JOIN volume_pessoas p ON p.n = t.primeira + (c.salto + k) %% t.pessoas
"""

ENDS = """
CREATE TEMP TABLE {table} ON COMMIT DROP AS
SELECT *, coalesce(sum(parte) OVER (ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS de,
       CASE WHEN n = max(n) OVER () THEN 2 ELSE sum(parte) OVER (ORDER BY n) END AS ate
FROM unnest(%s::float[], %s::text[], %s::text[], %s::text[])
    WITH ORDINALITY AS e(parte, status, outcome, motivo, n)
"""

_LINE = """
SELECT gen_random_uuid() AS id, s.pessoa, p.id AS cliente_id, p.telefone, p.fuso, s.campanha_id, s.tipo, s.prioridade,
       s.criada, s.devida, CASE WHEN s.parada THEN 'cancelada' ELSE e.status END AS status,
       CASE WHEN NOT s.parada THEN e.outcome END AS outcome,
       CASE WHEN s.parada THEN 'campanha_cancelada' ELSE e.motivo END AS motivo,
       CASE WHEN e.status = 'pendente' AND e.outcome IS NULL THEN NULL
            WHEN e.status = 'pendente' THEN agora() - s.outra * interval '1 hour'
            ELSE least(s.devida + s.outra * interval '90 s'
                       + CASE WHEN e.outcome = 'FAILED_EXPIRED' THEN interval '24 hours' ELSE interval '0' END, agora())
       END AS fim,
       CASE WHEN e.outcome = 'FAILED_PROVIDER' THEN 3 WHEN e.status = 'erro' OR s.outra > 0.97 THEN 1 ELSE 0 END
           AS falhas,
       (s.outra * 1e9)::bigint AS acaso,
       CASE WHEN s.outra < 0.45 THEN 'read' WHEN s.outra < 0.85 THEN 'delivered' WHEN s.outra < 0.98 THEN 'sent'
            WHEN s.outra < 0.99 THEN 'pending' ELSE 'failed' END AS entrega,
       'Oi, ' || p.primeiro_nome || '! Tudo bem? Aqui é a Julia, do escritório de escalas. Abrimos plantões na sua '
           || 'região. Quer que eu te mande os horários e os valores? (' || s.numero || ')' AS texto,
       NULL::uuid AS chip_id, NULL::uuid AS conversa_id
FROM ({source} OFFSET 0) s
JOIN volume_pessoas p ON p.n = s.pessoa
JOIN (SELECT true AS feita, f.* FROM volume_fins f UNION ALL SELECT false, w.* FROM volume_esperas w) e
    ON e.feita = s.feita AND s.sorte >= e.de AND s.sorte < e.ate
"""

_OF_CAMPAIGNS = """
SELECT c.id AS campanha_id, t.primeira + (c.salto + k) %% t.pessoas AS pessoa, 'campanha' AS tipo, 3 AS prioridade,
       k < c.feitas AS feita, c.estado = 'cancelada' AND k > c.feitas * 0.4 AS parada, c.n AS numero,
       c.iniciada + k * interval '50 microseconds' AS criada,
       CASE WHEN k < c.feitas THEN
                least(c.iniciada + (k / %(per_day)s) * interval '1 day' + (k %% %(per_day)s) * interval '20 s',
                      agora() - interval '10 min' - (c.feitas - k) * interval '0.2 s')
            WHEN k < c.feitas + c.vencidas THEN agora() - random() * interval '6 hours'
            ELSE agora() + interval '1 hour' + (k - c.feitas - c.vencidas) * interval '7 s' END AS devida,
       random() AS sorte, random() AS outra
FROM volume_campanhas c
CROSS JOIN (SELECT count(*)::int AS pessoas, min(n) AS primeira FROM volume_pessoas) t
CROSS JOIN LATERAL generate_series(0, c.feitas + c.vencidas + c.futuras - 1) k
"""

_LONE = """
SELECT NULL::bigint AS campanha_id, t.primeira + (k * 31) %% t.pessoas AS pessoa,
       CASE WHEN k < %(feitas)s THEN (ARRAY['resposta', 'resposta', 'resposta', 'followup', 'reativacao', 'lembrete'])
           [1 + k %% 6] ELSE 'lembrete' END AS tipo,
       CASE WHEN k < %(feitas)s AND k %% 6 < 3 THEN 8 ELSE 5 END AS prioridade,
       k < %(feitas)s AS feita, false AS parada, k AS numero,
       CASE WHEN k < %(feitas)s THEN x.em ELSE agora() - interval '2 hours' END AS criada,
       CASE WHEN k < %(feitas)s THEN x.em + interval '3 s'
            WHEN k %% 2 = 0 THEN agora() - random() * interval '1 hour'
            ELSE agora() + random() * interval '3 days' END AS devida,
       random() AS sorte, random() AS outra
FROM (SELECT count(*)::int AS pessoas, min(n) AS primeira FROM volume_pessoas) t
CROSS JOIN LATERAL generate_series(0, %(total)s - 1) k
CROSS JOIN LATERAL (SELECT agora() - interval '15 min' - (%(feitas)s - k)
                        * (interval '90 days' / greatest(%(feitas)s, 1)) AS em) x
"""

LINES = "CREATE TEMP TABLE volume_linhas ON COMMIT DROP AS" + _LINE.replace("{source}", _OF_CAMPAIGNS)
LONE_LINES = "INSERT INTO volume_linhas" + _LINE.replace("{source}", _LONE)

# What the single lines cannot know: who opted out gets nothing more, a few newest sends are unknown, which chip carried
# it, in which conversation.
TIES = (
    "ANALYZE volume_pessoas, volume_chips, volume_campanhas, volume_linhas",
    """
CREATE TEMP TABLE volume_saidas ON COMMIT DROP AS
SELECT cliente_id, min(fim) AS em FROM volume_linhas WHERE outcome = 'BLOCKED_OPTED_OUT' GROUP BY cliente_id
""",
    """
UPDATE volume_linhas l SET status = 'bloqueada', outcome = 'BLOCKED_OPTED_OUT', motivo = 'opted_out',
    fim = greatest(s.em, l.criada)
FROM volume_saidas s WHERE s.cliente_id = l.cliente_id AND l.status = 'pendente'
""",
    """
UPDATE volume_linhas SET status = 'incerta', outcome = NULL, motivo = 'timeout', falhas = 0
WHERE id IN (SELECT id FROM volume_linhas WHERE status = 'enviada' AND campanha_id IS NOT NULL
             ORDER BY fim DESC LIMIT (SELECT 3 + count(*) / 20000 FROM volume_linhas))
""",
    """
UPDATE volume_linhas l SET chip_id = c.id
FROM volume_chips c, (SELECT count(*) AS n FROM volume_chips WHERE status = 'active') a
WHERE l.status IN ('enviada', 'erro', 'incerta') AND c.na_frente = l.acaso %% a.n
""",
    """
CREATE TEMP TABLE volume_conversas ON COMMIT DROP AS
SELECT gen_random_uuid() AS id, l.*, row_number() OVER (ORDER BY l.cliente_id) AS n
FROM (SELECT cliente_id, telefone, max(campanha_id) AS campanha_id, min(fim) AS desde, max(fim) AS ultima,
             (array_agg(chip_id ORDER BY fim DESC))[1] AS chip_id
      FROM volume_linhas WHERE status = 'enviada' GROUP BY cliente_id, telefone) l
""",
    "ANALYZE volume_linhas, volume_conversas",
    """
UPDATE volume_linhas l SET conversa_id = v.id FROM volume_conversas v
WHERE v.cliente_id = l.cliente_id AND l.status = 'enviada'
""",
)

CONVERSATIONS = (
    """
INSERT INTO conversations (id, cliente_id, lead_phone, campanha_id, status, stage, controlled_by, message_count,
    response_count, last_message_at, ultima_mensagem_em, first_touch_at, last_touch_campaign_id, last_touch_type,
    last_touch_at, started_at, completed_at, created_at)
SELECT id, cliente_id, telefone, campanha_id,
    CASE WHEN n %% 100 < 20 THEN 'completed' WHEN n %% 100 < 22 THEN 'escalated' WHEN n %% 100 < 23 THEN 'paused'
         WHEN n %% 100 < 30 THEN 'aguardando_medico' ELSE 'active' END, 'msg_enviada',
    CASE WHEN n %% 100 IN (20, 21) THEN 'human' ELSE 'ai' END, n %% 4, n %% 3, ultima, ultima, desde, campanha_id,
    'campanha', ultima, desde, CASE WHEN n %% 100 < 20 THEN ultima END, desde
FROM volume_conversas ON CONFLICT DO NOTHING
""",
    "INSERT INTO conversation_chips (conversa_id, chip_id) SELECT id, chip_id FROM volume_conversas",
)

MESSAGES = (
    """
INSERT INTO fila_mensagens (id, cliente_id, campanha_id, conversa_id, chip_id, telefone_destino, conteudo, tipo,
    prioridade, status, agendar_para, token, tentativas, reagendamentos, erro, outcome, outcome_reason_code, outcome_at,
    provider_message_id, enviada_em, delivery_status, entregue_em, correlation_id, created_at, updated_at)
SELECT id, cliente_id, campanha_id, conversa_id, chip_id, telefone, texto, tipo, prioridade, status, devida,
    CASE WHEN status = 'pendente' AND outcome IS NULL THEN 0 ELSE nextval('fila_token_seq') END,
    CASE WHEN status IN ('enviada', 'erro') THEN falhas ELSE 0 END,
    CASE WHEN outcome IS NULL THEN 0 ELSE acaso %% 3 END,
    CASE WHEN status = 'erro' THEN motivo END, outcome, motivo, fim,
    CASE WHEN status = 'enviada' THEN 'V' || upper(replace(id::text, '-', '')) END,
    CASE WHEN status = 'enviada' THEN fim END, CASE WHEN status = 'enviada' THEN entrega END,
    CASE WHEN status = 'enviada' AND entrega IN ('delivered', 'read') THEN fim + interval '4 s' END,
    'volume-' || left(id::text, 8), criada, coalesce(fim, criada)
FROM volume_linhas ORDER BY criada
""",
)

ATTEMPTS = (
    """
INSERT INTO envios_tentativas (origem, origem_id, tentativa_no, chip_id, provider, cliente_id, destino, tipo_mensagem,
    proativa, peso, balde_em, dia_local, texto_hash, lote, consumidor, motivo_escolha, correlation_id, iniciado_em,
    encerrado_em, resultado, error_kind, codigo, http_status, erro, duracao_ms, provider_message_id, delivery_status)
SELECT 'fila', l.id, no, l.chip_id, c.provider, l.cliente_id, l.telefone,
    CASE WHEN l.tipo = 'resposta' THEN 'resposta' WHEN l.tipo IN ('followup', 'reativacao') THEN 'followup'
         ELSE 'prospeccao' END,
    l.tipo <> 'resposta', CASE WHEN l.tipo = 'campanha' THEN 2 ELSE 1 END, date_trunc('minute', x.em),
    (x.em AT TIME ZONE l.fuso)::date, encode(sha256(convert_to(lower(l.texto), 'UTF8')), 'hex'), gen_random_uuid(),
    'worker:volume', 'menor_uso', 'volume-' || left(l.id::text, 8), x.em, x.em + interval '800 ms', x.resultado,
    CASE x.resultado WHEN 'rejeitado' THEN 'provedor' WHEN 'desconhecido' THEN 'rede' ELSE '' END,
    CASE x.resultado WHEN 'enviado' THEN 'ok' WHEN 'desconhecido' THEN 'timeout'
         ELSE CASE WHEN l.status = 'erro' THEN l.motivo ELSE 'server_error' END END,
    CASE x.resultado WHEN 'enviado' THEN 201 WHEN 'rejeitado' THEN 500 END, '', 300 + l.acaso %% 2000,
    CASE WHEN x.resultado = 'enviado' THEN 'V' || upper(replace(l.id::text, '-', '')) ELSE '' END,
    CASE WHEN x.resultado = 'enviado' THEN l.entrega END
FROM volume_linhas l JOIN volume_chips c ON c.id = l.chip_id
CROSS JOIN LATERAL generate_series(1, l.falhas + CASE WHEN l.status = 'erro' THEN 0 ELSE 1 END) no
CROSS JOIN LATERAL (SELECT l.fim - interval '1 s' - (l.falhas - no + 1) * interval '2 min' AS em,
    CASE WHEN no <= l.falhas THEN 'rejeitado' WHEN l.status = 'incerta' THEN 'desconhecido' ELSE 'enviado' END
        AS resultado) x
ORDER BY x.em
""",
    """
UPDATE fila_mensagens m SET tentativa_aberta_id = t.id
FROM envios_tentativas t JOIN volume_linhas l ON l.id = t.origem_id AND l.status = 'incerta'
WHERE t.origem = 'fila' AND t.resultado = 'desconhecido' AND m.id = t.origem_id
""",
    """
INSERT INTO chip_interactions (chip_id, tipo, destinatario, sucesso, error_code, provider_message_id, created_at)
SELECT chip_id, 'msg_enviada', telefone, status <> 'erro', CASE WHEN status = 'erro' THEN 500 END,
    CASE WHEN status = 'enviada' THEN 'V' || upper(replace(id::text, '-', '')) ELSE '' END, fim
FROM volume_linhas WHERE chip_id IS NOT NULL
""",
)

EVENTS = """
INSERT INTO fila_eventos (mensagem_id, tipo, outcome, motivo, ate, detalhes, em)
SELECT l.id, e.tipo, coalesce(e.outcome, ''), e.motivo, e.ate, '{}', e.em FROM volume_linhas l
CROSS JOIN LATERAL (
    SELECT CASE l.status WHEN 'erro' THEN 'falha' ELSE l.status END AS tipo, l.outcome, l.motivo,
           NULL::timestamptz AS ate, l.fim AS em
    WHERE l.status IN ('bloqueada', 'cancelada', 'erro', 'incerta')
    UNION ALL
    SELECT CASE WHEN l.outcome = 'FAILED_NO_CAPACITY' THEN 'sem_chip' ELSE 'adiada' END, l.outcome, l.motivo, l.devida,
           l.fim
    WHERE l.status = 'pendente' AND l.outcome IS NOT NULL
    UNION ALL
    SELECT 'adiada', 'BLOCKED_QUIET_HOURS', 'quiet_hours', l.devida, l.criada + interval '1 min'
    WHERE l.status = 'enviada' AND l.acaso %% 10 = 0
    UNION ALL
    SELECT 'recibo', '', l.entrega, NULL, l.fim + interval '4 s'
    WHERE l.status = 'enviada' AND l.entrega IN ('read', 'delivered') AND l.acaso %% 3 = 0) e
"""

DEAD = """
INSERT INTO fila_mensagens_dlq (mensagem_original_id, cliente_id, conteudo, tipo, prioridade, tentativas, ultimo_erro,
    outcome, outcome_reason_code, original_created_at, movido_para_dlq_em)
SELECT id, cliente_id, texto, tipo, prioridade, falhas, motivo, outcome, motivo, criada, fim
FROM volume_linhas WHERE status = 'erro'
"""

INTERACTIONS = (
    """
INSERT INTO interacoes (conversation_id, cliente_id, chip_id, mensagem_id, origem, tipo, conteudo, autor_tipo,
    autor_nome, provider, instance, provider_message_id, delivery_status, delivery_status_at, created_at)
SELECT l.conversa_id, l.cliente_id, l.chip_id, l.id, 'whatsapp_outbound', 'saida', l.texto, 'julia', 'Julia',
    c.provider, c.nome, 'V' || upper(replace(l.id::text, '-', '')), l.entrega, l.fim, l.fim
FROM volume_linhas l JOIN volume_chips c ON c.id = l.chip_id WHERE l.status = 'enviada' ORDER BY l.fim
""",
    """
INSERT INTO interacoes (conversation_id, cliente_id, chip_id, origem, tipo, conteudo, autor_tipo, autor_nome, intencao,
    attributed_campaign_id, provider, instance, provider_message_id, created_at)
SELECT l.conversa_id, l.cliente_id, l.chip_id, 'whatsapp_inbound', 'entrada',
    (ARRAY['Oi! Quero saber mais, sim.', 'Agora não posso, me chama na semana que vem?', 'Quais são os valores?',
           'Obrigada, mas não tenho interesse.', 'Pode mandar os horários.'])[1 + l.acaso %% 5], 'medico', '',
    CASE WHEN l.acaso %% 5 = 3 THEN 'cooling_off' ELSE '' END, l.campanha_id, c.provider, c.nome,
    'R' || upper(replace(l.id::text, '-', '')), least(l.fim + (l.acaso %% 7200) * interval '1 s', agora())
FROM volume_linhas l JOIN volume_chips c ON c.id = l.chip_id WHERE l.status = 'enviada' AND l.acaso %% 8 = 1
""",
)

STATES = (
    """
UPDATE doctor_state d SET last_outbound_at = v.ultima, last_outbound_actor = 'julia', last_touch_at = v.ultima,
    last_touch_method = 'campanha', last_touch_campaign_id = v.campanha_id,
    permission_state = CASE WHEN s.cliente_id IS NOT NULL THEN 'opted_out' WHEN v.n %% 90 = 11 THEN 'cooling_off'
        WHEN v.n %% 8 = 1 THEN 'active' ELSE 'initial' END,
    opted_out_at = s.em, opted_out_reason = CASE WHEN s.cliente_id IS NULL THEN '' ELSE 'pedido' END,
    cooling_off_until = CASE WHEN s.cliente_id IS NULL AND v.n %% 90 = 11 THEN agora() + interval '20 days' END
FROM volume_conversas v LEFT JOIN volume_saidas s ON s.cliente_id = v.cliente_id WHERE d.cliente_id = v.cliente_id
""",
    """
UPDATE doctor_state d SET permission_state = 'opted_out', opted_out_at = s.em, opted_out_reason = 'pedido'
FROM volume_saidas s WHERE s.cliente_id = d.cliente_id AND d.permission_state <> 'opted_out'
""",
    """
UPDATE doctor_state d SET last_inbound_at = i.ultima
FROM (SELECT l.cliente_id, max(i.created_at) AS ultima FROM volume_conversas l
      JOIN interacoes i ON i.conversation_id = l.id AND i.tipo = 'entrada' GROUP BY l.cliente_id) i
WHERE d.cliente_id = i.cliente_id
""",
    """
UPDATE chips c SET msgs_enviadas_total = s.n, ultimo_envio_em = s.ultima, msgs_recebidas_total = s.n / 8
FROM (SELECT chip_id, count(*) AS n, max(fim) AS ultima FROM volume_linhas WHERE status = 'enviada' GROUP BY chip_id) s
WHERE c.id = s.chip_id
""",
)

IMPORTS = """
INSERT INTO importacoes (nome_arquivo, status, linhas, novos, duplicados, rejeitados, criado_por, iniciado_em,
    concluido_em, created_at)
SELECT 'volume_' || n || '.csv', 'concluida', 5200, 4800, 200, 200, 'volume', x.em, x.em + interval '9 s', x.em
FROM generate_series(1, 40) n, LATERAL (SELECT agora() - n * interval '2 days' AS em) x
"""

REJECTED = """
INSERT INTO importacao_rejeitadas (importacao_id, linha, celulas, codigo, motivo)
SELECT i.id, 26 * k, jsonb_build_object('colunas', jsonb_build_array('telefone', 'nome'),
        'celulas', jsonb_build_array('3000-' || lpad(k::text, 4, '0'), 'Pessoa Inventada ' || k)),
    'sem_ddd', 'telefone sem DDD: escreva com os dois dígitos da cidade, por exemplo (11) 90000-0001'
FROM importacoes i, generate_series(1, 200) k WHERE i.criado_por = 'volume' AND i.status = 'concluida'
    AND NOT EXISTS (SELECT 1 FROM importacao_rejeitadas r WHERE r.importacao_id = i.id)
"""

JOBS = """
INSERT INTO job_executions (job_name, started_at, finished_at, status, duration_ms, items_processed, slot, resultado)
SELECT 'processar_mensagens_agendadas', em, em + interval '40 ms',
    CASE WHEN n %% 5000 = 4999 THEN 'error' ELSE 'success' END, 40, 0, to_char(em, 'YYYY-MM-DD"T"HH24:MI'),
    '{"processados": 0, "worker_vivo": true}'
FROM generate_series(1, %(minutes)s) n, LATERAL (SELECT date_trunc('minute', agora()) - n * interval '1 min' AS em) x
"""
