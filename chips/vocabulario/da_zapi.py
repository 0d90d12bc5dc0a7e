"""What Z-API answers, and what its delivery callback tells later (contracts §2)."""

from functools import partial

from chips.choices import ProviderName
from chips.providers.base import Code, ErrorKind, Fault
from chips.vocabulario import rules
from chips.vocabulario.choices import ContaEm
from chips.vocabulario.comuns import MINUTE, SESSION_REST, unlisted

not_sent = partial(rules.not_sent, provider=ProviderName.ZAPI.value)
unknown = partial(rules.unknown, provider=ProviderName.ZAPI.value)

_REFUSED = "Uma recusa documentada: a Z-API não põe na fila o que recusa."
_STATUS_FIRST = "A conexão é perguntada antes de cada envio, e nada foi escrito sem a resposta."
_CALLBACK = "A Z-API avisa com este texto que não entregou a mensagem ao WhatsApp."

ZAPI = (
    not_sent(
        "zapi.not_allowed", ErrorKind.CREDENCIAL, Fault.NOS, Code.CREDENTIALS_REJECTED, ContaEm.PROVEDOR,
        "A Z-API recusou o Client-Token ou o nosso endereço IP. Confira o token na página do chip e a lista da conta.",
        _REFUSED,
    ),
    not_sent(
        "zapi.telefone_invalido", ErrorKind.DESTINO_INVALIDO, Fault.DESTINATARIO, Code.INVALID_NUMBER, ContaEm.NENHUM,
        "A Z-API diz que o telefone é inválido. Corrija o telefone no cadastro e crie um novo envio.",
        _REFUSED, retryable=False,
    ),
    not_sent(
        "zapi.pedido_recusado", ErrorKind.INTERNO, Fault.NOS, Code.REQUEST_REJECTED, ContaEm.NENHUM,
        "A Z-API recusou a forma do pedido (405 ou 415). É um defeito nosso: avise quem cuida do sistema.",
        _REFUSED, retryable=False,
    ),
    not_sent(
        "zapi.desconectado", ErrorKind.SESSAO, Fault.CHIP, Code.NOT_CONNECTED, ContaEm.CHIP,
        "O chip está desconectado na Z-API. Reconecte-o na página do chip; a mensagem sai por outro.",
        _STATUS_FIRST, rest_s=SESSION_REST,
    ),
    not_sent(
        "zapi.status_instancia", ErrorKind.SESSAO, Fault.CHIP, Code.INSTANCE_NOT_FOUND, ContaEm.CHIP,
        "A Z-API não conhece a instância ou o token deste chip. Confira os dois na página do chip.",
        _STATUS_FIRST, rest_s=SESSION_REST,
    ),
    not_sent(
        "zapi.status_credencial", ErrorKind.CREDENCIAL, Fault.NOS, Code.CREDENTIALS_REJECTED, ContaEm.PROVEDOR,
        "A Z-API recusou o Client-Token ao perguntarmos pela conexão. Confira o token na página do chip.",
        _STATUS_FIRST,
    ),
    not_sent(
        "zapi.status_limite", ErrorKind.RATE_LIMIT, Fault.CHIP, Code.RATE_LIMITED, ContaEm.NENHUM,
        "A Z-API pediu para perguntar mais devagar (429). O chip descansa o tempo pedido, ou 5 minutos.",
        _STATUS_FIRST, rest_s=5 * MINUTE,
    ),
    not_sent(
        "zapi.status_tempo", ErrorKind.TIMEOUT, Fault.PROVEDOR, Code.TIMEOUT, ContaEm.NENHUM,
        "A Z-API não respondeu a tempo se o chip está conectado. A mensagem volta para a fila sozinha.",
        _STATUS_FIRST,
    ),
    not_sent(
        "zapi.status_rede", ErrorKind.REDE, Fault.PROVEDOR, Code.NETWORK_ERROR, ContaEm.PROVEDOR,
        "A conexão com a Z-API falhou ao perguntarmos pela conexão do chip. A mensagem volta sozinha.",
        _STATUS_FIRST,
    ),
    not_sent(
        "zapi.status_erro", ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, ContaEm.PROVEDOR,
        "A Z-API respondeu com erro interno ao perguntarmos pela conexão do chip. A mensagem volta sozinha.",
        _STATUS_FIRST,
    ),
    not_sent(
        "zapi.status_ilegivel", ErrorKind.DESCONHECIDO, Fault.PROVEDOR, Code.UNKNOWN, ContaEm.PROVEDOR,
        "A Z-API não disse se o chip está conectado. Confira o endereço e a versão dela; a mensagem volta sozinha.",
        _STATUS_FIRST,
    ),
    unknown(
        "zapi.sem_identificador", ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.INVALID_REPLY, ContaEm.PROVEDOR,
        "A Z-API disse sim, mas sem o código da mensagem. A conciliação procura a mensagem na fila dela.",
        "Um sim sem código não prova que entrou na fila nem que não entrou.",
    ),
    unknown(
        "zapi.http_404", ErrorKind.SESSAO, Fault.CHIP, Code.INSTANCE_NOT_FOUND, ContaEm.CHIP,
        "A Z-API não conhece a instância ou o token deste chip (404). Confira os dois na página do chip.",
        "A Z-API não documenta esta resposta.", rest_s=SESSION_REST,
    ),
    not_sent(
        "zapi.entrega_restrita", ErrorKind.RESTRICAO, Fault.CHIP, Code.ACCOUNT_RESTRICTED, ContaEm.CHIP,
        "O WhatsApp não permitiu que este chip enviasse. Ele sai da produção; confira o aparelho antes de devolvê-lo.",
        _CALLBACK, rest_s=60 * MINUTE, restriction=True,
    ),
    not_sent(
        "zapi.entrega_numero_inexistente", ErrorKind.DESTINO_INVALIDO, Fault.DESTINATARIO, Code.NOT_ON_WHATSAPP,
        ContaEm.NENHUM,
        "O número não existe no WhatsApp. Corrija o telefone no cadastro e crie um novo envio.",
        _CALLBACK, retryable=False,
    ),
    unknown(
        "zapi.entrega_tempo", ErrorKind.TIMEOUT, Fault.CHIP, Code.TIMEOUT, ContaEm.NENHUM,
        "O WhatsApp não confirmou à Z-API que recebeu a mensagem. A conciliação espera os recibos; não reenvie.",
        "O tempo esgotado ao entregar não prova que a mensagem não saiu.",
    ),
    not_sent(
        "zapi.entrega_erro", ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, ContaEm.NENHUM,
        "A Z-API não conseguiu entregar a mensagem ao WhatsApp e não disse por quê. A mensagem volta sozinha.",
        _CALLBACK,
    ),
    *unlisted("zapi", ProviderName.ZAPI.value, "Z-API"),
)  # fmt: skip
