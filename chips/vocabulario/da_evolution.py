"""What Evolution API 2.3.6 answers (contracts §1.6)."""

from functools import partial

from chips.choices import ProviderName
from chips.providers.base import Code, ErrorKind, Fault
from chips.vocabulario import rules
from chips.vocabulario.choices import ContaEm
from chips.vocabulario.comuns import MINUTE, SESSION_REST, unlisted

not_sent = partial(rules.not_sent, provider=ProviderName.EVOLUTION.value)
unknown = partial(rules.unknown, provider=ProviderName.EVOLUTION.value)

_CHECKED = "Esta resposta vem da checagem do número, que acontece antes do envio."
_GUARD = "A Evolution recusa nesta etapa antes de chegar ao envio."
_SENDING = "Lançado ao escrever para o WhatsApp, ou por uma consulta posterior: o texto é o mesmo."

EVOLUTION = (
    not_sent(
        "evolution.exists_false", ErrorKind.DESTINO_INVALIDO, Fault.DESTINATARIO, Code.NOT_ON_WHATSAPP, ContaEm.NENHUM,
        "O número não existe no WhatsApp. Corrija o telefone no cadastro e crie um novo envio.",
        _CHECKED, retryable=False,
    ),
    not_sent(
        "evolution.esquema", ErrorKind.INTERNO, Fault.NOS, Code.REQUEST_REJECTED, ContaEm.NENHUM,
        "A Evolution recusou o formato do pedido. É defeito nosso ou outra versão dela: avise quem cuida do sistema.",
        _GUARD, retryable=False,
    ),
    not_sent(
        "evolution.json_invalido", ErrorKind.INTERNO, Fault.NOS, Code.REQUEST_REJECTED, ContaEm.NENHUM,
        "A Evolution não conseguiu ler o pedido. É um defeito nosso: avise quem cuida do sistema.",
        _GUARD, retryable=False,
    ),
    not_sent(
        "evolution.nao_autorizado", ErrorKind.CREDENCIAL, Fault.NOS, Code.CREDENTIALS_REJECTED, ContaEm.PROVEDOR,
        "A Evolution recusou a chave, ou está sem o banco dela. Confira a chave na página do chip e a Evolution.",
        _GUARD,
    ),
    not_sent(
        "evolution.instancia_inexistente", ErrorKind.SESSAO, Fault.CHIP, Code.INSTANCE_NOT_FOUND, ContaEm.CHIP,
        "A Evolution não conhece a instância deste chip. Confira o nome da instância na página do chip.",
        _GUARD, rest_s=SESSION_REST,
    ),
    not_sent(
        "evolution.rota_inexistente", ErrorKind.INTERNO, Fault.NOS, Code.ROUTE_NOT_FOUND, ContaEm.PROVEDOR,
        "O endereço da Evolution está errado, ou a versão dela é outra. Confira EVOLUTION_API_URL.",
        _GUARD,
    ),
    not_sent(
        "evolution.checagem_nao_carregada", ErrorKind.SESSAO, Fault.CHIP, Code.NOT_CONNECTED, ContaEm.CHIP,
        "A instância deste chip não está carregada na Evolution. Reconecte o chip; a mensagem sai por outro.",
        _CHECKED, rest_s=SESSION_REST,
    ),
    not_sent(
        "evolution.checagem_fechada", ErrorKind.SESSAO, Fault.CHIP, Code.NOT_CONNECTED, ContaEm.CHIP,
        "O chip está desconectado do WhatsApp. Reconecte-o na página do chip; a mensagem sai por outro.",
        _CHECKED, rest_s=SESSION_REST,
    ),
    not_sent(
        "evolution.checagem_tempo", ErrorKind.TIMEOUT, Fault.CHIP, Code.TIMEOUT, ContaEm.NENHUM,
        "O WhatsApp não respondeu a este chip na checagem do número. A mensagem sai por outro.",
        _CHECKED, rest_s=SESSION_REST,
    ),
    not_sent(
        "evolution.checagem_limite", ErrorKind.RESTRICAO, Fault.CHIP, Code.RATE_LIMITED, ContaEm.CHIP,
        "O WhatsApp está freando este chip (rate-overlimit). Ele sai da produção e descansa.",
        _CHECKED, rest_s=30 * MINUTE, restriction=True,
    ),
    not_sent(
        "evolution.checagem_proibido", ErrorKind.RESTRICAO, Fault.CHIP, Code.ACCOUNT_RESTRICTED, ContaEm.CHIP,
        "O WhatsApp restringiu este chip (forbidden). Ele sai da produção; confira o aparelho antes de devolvê-lo.",
        _CHECKED, rest_s=60 * MINUTE, restriction=True,
    ),
    not_sent(
        "evolution.checagem_banco", ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, ContaEm.PROVEDOR,
        "O banco de dados da Evolution falhou antes do envio. Confira a Evolution; a mensagem volta sozinha.",
        "A consulta que falhou acontece antes do envio.",
    ),
    unknown(
        "evolution.sem_chave", ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.INVALID_REPLY, ContaEm.PROVEDOR,
        "A Evolution disse sim, mas sem o código da mensagem. A conciliação procura a mensagem.",
        "Um sim sem código não prova que saiu nem que não saiu.",
    ),
    unknown(
        "evolution.envio_fechado", ErrorKind.SESSAO, Fault.CHIP, Code.NOT_CONNECTED, ContaEm.CHIP,
        "A conexão do chip caiu durante o envio. A conciliação procura a mensagem; reconecte o chip se ele não voltar.",
        _SENDING, rest_s=SESSION_REST,
    ),
    unknown(
        "evolution.envio_sem_sessao", ErrorKind.SESSAO, Fault.CHIP, Code.NOT_CONNECTED, ContaEm.CHIP,
        "O chip perdeu as chaves da sessão. A conciliação procura a mensagem; se repetir, reconecte o chip.",
        _SENDING, rest_s=SESSION_REST,
    ),
    unknown(
        "evolution.envio_tempo", ErrorKind.TIMEOUT, Fault.CHIP, Code.TIMEOUT, ContaEm.NENHUM,
        "O WhatsApp não respondeu a este chip durante o envio. A conciliação procura a mensagem.",
        _SENDING, rest_s=SESSION_REST,
    ),
    unknown(
        "evolution.envio_limite", ErrorKind.RESTRICAO, Fault.CHIP, Code.RATE_LIMITED, ContaEm.CHIP,
        "O WhatsApp freou este chip durante o envio (rate-overlimit). Ele sai da produção e descansa.",
        _SENDING, rest_s=30 * MINUTE, restriction=True,
    ),
    unknown(
        "evolution.envio_proibido", ErrorKind.RESTRICAO, Fault.CHIP, Code.ACCOUNT_RESTRICTED, ContaEm.CHIP,
        "O WhatsApp recusou este chip durante o envio (forbidden). Ele sai da produção; confira o aparelho.",
        _SENDING, rest_s=60 * MINUTE, restriction=True,
    ),
    unknown(
        "evolution.envio_banco", ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.SERVER_ERROR, ContaEm.PROVEDOR,
        "O banco de dados da Evolution falhou, em geral depois de enviar. A conciliação espera o eco; não reenvie.",
        "Visto em produção: a mensagem saiu e só a gravação dela falhou.",
    ),
    not_sent(
        "evolution.ack_erro", ErrorKind.DESCONHECIDO, Fault.CHIP, Code.ERROR_ACK, ContaEm.NENHUM,
        "O WhatsApp avisou que a mensagem não foi entregue. Vários avisos seguidos são sinal de chip restrito.",
        "Um aviso de erro, sem confirmação de entrega em 60 s, prova que não chegou; confirmação tardia prevalece.",
    ),
    *unlisted("evolution", ProviderName.EVOLUTION.value, "Evolution"),
)  # fmt: skip
