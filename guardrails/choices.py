"""The words of the guardrails: kinds of send, states of a person, switches, and why a send is refused."""

from django.db import models


class Kind(models.TextChoices):
    """What a send is for. Whether it is proactive also depends on its proof (`decisions.nature_of`)."""

    CAMPANHA = "campanha", "Campanha"
    DISCOVERY = "discovery", "Primeiro contato automático"
    OFERTA = "oferta", "Oferta automática"
    FOLLOWUP = "followup", "Acompanhamento"
    REATIVACAO = "reativacao", "Reativação"
    FEEDBACK = "feedback", "Pedido de avaliação"
    LEMBRETE = "lembrete", "Lembrete"
    RESPOSTA = "resposta", "Resposta"
    MANUAL = "manual", "Mensagem escrita por uma pessoa"
    AVISO_HANDOFF = "aviso_handoff", "Aviso de que uma pessoa assume a conversa"
    CONFIRMACAO_OPT_OUT = "confirmacao_opt_out", "Confirmação do pedido de saída"
    TESTE = "teste", "Teste interno"


class PermissionState(models.TextChoices):
    """Column `doctor_state.permission_state`; `opted_out` is terminal."""

    NONE = "none", "Sem contato"
    INITIAL = "initial", "Contatado"
    ACTIVE = "active", "Em conversa"
    COOLING_OFF = "cooling_off", "Em pausa"
    OPTED_OUT = "opted_out", "Pediu para sair"


class SuppressionReason(models.TextChoices):
    """Why a person (or their number) is out for good."""

    PEDIDO = "pedido", "Pedido do médico"
    NUMERO_ERRADO = "numero_errado", "Número de outra pessoa"
    FALECIMENTO = "falecimento", "Falecimento"
    ADMINISTRATIVO = "administrativo", "Decisão da operação"


class SwitchState(models.TextChoices):
    """A switch that cannot be read is neither on nor off: what it guards is held."""

    ON = "on", "Ligado"
    OFF = "off", "Desligado"
    UNREADABLE = "unreadable", "Ilegível"


class ReasonCode(models.TextChoices):
    """Column `outcome_reason_code`, as far as the guardrails write it."""

    OK = "ok", "Permitida"
    REPLY_VALID = "reply_valid", "Resposta a uma mensagem recente"
    REPLY_TO_OPTED_OUT = "reply_to_opted_out", "Resposta a quem saiu e voltou a escrever"
    NON_PROACTIVE = "non_proactive", "Envio que não é contato ativo"
    DEV_ALLOWLIST = "dev_allowlist", "Fora da lista de teste"
    DEV_ALLOWLIST_EMPTY = "dev_allowlist_empty", "Lista de teste vazia"
    OPTED_OUT = "opted_out", "Pediu para sair"
    OPTED_OUT_BYPASS_NO_REASON = "opted_out_bypass_no_reason", "Liberação sem motivo para quem pediu para sair"
    WRONG_NUMBER = "wrong_number", "Número de outra pessoa"
    DECEASED = "deceased", "Falecimento informado"
    TELEFONE_NAO_ENCONTRADO = "telefone_nao_encontrado", "Sem telefone"
    INVALID_NUMBER = "invalid_number", "Número inválido ou fora do WhatsApp"
    HANDOFF_ATIVO = "handoff_ativo", "Conversa com uma pessoa"
    CONTACT_CAP = "contact_cap", "Limite de contatos em 7 dias"
    COOLING_OFF = "cooling_off", "Em pausa"
    NEXT_ALLOWED_AT = "next_allowed_at", "Próximo contato ainda não permitido"
    CAMPAIGN_COOLDOWN = "campaign_cooldown", "Outra campanha há menos de 72 horas"
    DAILY_LIMIT = "daily_limit", "Limite diário por médico"
    QUIET_HOURS = "quiet_hours", "Fora do horário de contato"
    STATE_UNAVAILABLE = "state_unavailable", "Situação do médico indisponível"
    ENVIRONMENT_LOCKED = "environment_locked", "Ambiente não confirmado"
    OPERATION_PAUSED = "operation_paused", "Operação pausada"
    WORKER_DISABLED = "worker_disabled", "Consumo da fila desligado"
    CAMPAIGNS_DISABLED = "campaigns_disabled", "Campanhas desligadas"
    SAFE_MODE = "safe_mode", "Modo seguro"
    KIND_DISABLED = "kind_disabled", "Tipo de envio desligado"
    SWITCH_UNREADABLE = "switch_unreadable", "Chave de segurança ilegível"
    INBOUND_PENDENTE = "inbound_pendente", "Mensagem do médico ainda não lida"

    @property
    def is_bypassable(self) -> bool:
        """Whether an authenticated person may override it, with a motivo."""
        return self in BYPASSABLE


BYPASSABLE = frozenset(
    {
        ReasonCode.OPTED_OUT,
        ReasonCode.CONTACT_CAP,
        ReasonCode.COOLING_OFF,
        ReasonCode.NEXT_ALLOWED_AT,
        ReasonCode.CAMPAIGN_COOLDOWN,
        ReasonCode.DAILY_LIMIT,
        ReasonCode.QUIET_HOURS,
    }
)

SENTENCES: dict[ReasonCode, str] = {
    ReasonCode.OK: "Nenhuma regra impede o envio.",
    ReasonCode.REPLY_VALID: "Responde a uma mensagem de até 30 minutos atrás: limites e horário não se aplicam.",
    ReasonCode.REPLY_TO_OPTED_OUT: (
        "O médico pediu para sair e depois voltou a escrever: a resposta é permitida, novos contatos não."
    ),
    ReasonCode.NON_PROACTIVE: "O envio não é contato ativo: limites e horário não se aplicam.",
    ReasonCode.DEV_ALLOWLIST: (
        "Fora de produção só saem mensagens para o simulador ou para os números de OUTBOUND_ALLOWLIST. "
        "Inclua o número na lista e crie um novo envio."
    ),
    ReasonCode.DEV_ALLOWLIST_EMPTY: (
        "Fora de produção e com OUTBOUND_ALLOWLIST vazia, nada sai. "
        "Preencha a lista com números de teste ou use o simulador."
    ),
    ReasonCode.OPTED_OUT: "O médico pediu para não receber mensagens. Só volta a recebê-las se ele mesmo pedir.",
    ReasonCode.OPTED_OUT_BYPASS_NO_REASON: (
        "O médico pediu para sair e a liberação veio sem motivo. Escreva um motivo de pelo menos 10 caracteres."
    ),
    ReasonCode.WRONG_NUMBER: "O número é de outra pessoa. Corrija o telefone no cadastro antes de enviar de novo.",
    ReasonCode.DECEASED: "Fomos informados do falecimento desta pessoa. Não envie; confirme os dados do cadastro.",
    ReasonCode.TELEFONE_NAO_ENCONTRADO: "O cadastro não tem telefone. Preencha o telefone e crie um novo envio.",
    ReasonCode.INVALID_NUMBER: (
        "O número é inválido ou não existe no WhatsApp. Corrija o telefone no cadastro e crie um novo envio."
    ),
    ReasonCode.HANDOFF_ATIVO: (
        "Uma pessoa da equipe está com esta conversa. Devolva a conversa à Julia antes de criar um novo envio."
    ),
    ReasonCode.CONTACT_CAP: (
        "O médico já recebeu o máximo de contatos em 7 dias. "
        "Aguarde os contatos mais antigos saírem da conta ou peça liberação com motivo."
    ),
    ReasonCode.COOLING_OFF: "O médico está em pausa de contato. Aguarde o fim da pausa ou fale com a supervisão.",
    ReasonCode.NEXT_ALLOWED_AT: (
        "O próximo contato com este médico só é permitido a partir da data indicada. "
        "Aguarde a data ou peça liberação com motivo."
    ),
    ReasonCode.CAMPAIGN_COOLDOWN: (
        "O médico recebeu outra campanha há menos de 72 horas. Inclua-o em uma campanha posterior."
    ),
    ReasonCode.DAILY_LIMIT: (
        "O médico já recebeu o máximo de contatos de hoje. O envio segue na próxima abertura do horário de contato."
    ),
    ReasonCode.QUIET_HOURS: (
        "Está fora do horário de contato na região do médico. O envio segue na próxima abertura, sem ação sua."
    ),
    ReasonCode.STATE_UNAVAILABLE: (
        "Não foi possível ler a situação do médico, então nada foi enviado. "
        "Há nova tentativa em 5 minutos; se persistir, verifique o banco em /health/ready."
    ),
    ReasonCode.ENVIRONMENT_LOCKED: (
        "O banco não é o que este ambiente conhece (restaurado, clonado ou trocado). "
        "Confirme o ambiente na página de configurações para liberar os envios."
    ),
    ReasonCode.OPERATION_PAUSED: "A operação está pausada. Retome a operação para que a fila volte a andar.",
    ReasonCode.WORKER_DISABLED: "A chave worker_fila está desligada. Ligue-a para que a fila volte a andar.",
    ReasonCode.CAMPAIGNS_DISABLED: (
        "As campanhas estão desligadas. As mensagens ficam na fila; ligue as campanhas para enviá-las."
    ),
    ReasonCode.SAFE_MODE: (
        "O modo seguro está ligado e retém os contatos ativos. Desligue o modo seguro quando a causa estiver resolvida."
    ),
    ReasonCode.KIND_DISABLED: (
        "A chave deste tipo de envio está desligada. As mensagens ficam na fila; ligue a chave para enviá-las."
    ),
    ReasonCode.SWITCH_UNREADABLE: (
        "Não foi possível ler uma chave de segurança, então nada é enviado até que ela possa ser lida. "
        "Verifique o banco e o valor da chave na página de configurações."
    ),
    ReasonCode.INBOUND_PENDENTE: (
        "O médico acabou de escrever e a mensagem ainda não foi lida pelo sistema. O envio espera por ela; "
        "se demorar, verifique o processamento das mensagens recebidas."
    ),
}
