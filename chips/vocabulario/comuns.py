"""Results that either provider may give: the network's, our own, and answers that no table lists.

Rests in seconds: chips reference §4.4; whose fault and which circuit: decisions §14.
"""

from chips.providers.base import Code, ErrorKind, Fault
from chips.vocabulario.choices import ContaEm
from chips.vocabulario.rules import Entry, not_sent, unknown

MINUTE = 60
SESSION_REST = MINUTE

_AFTER_WRITING = "A falha veio depois de o pedido ser escrito: o provedor pode tê-lo executado."
_UNLISTED = "A resposta não está entre as que provam que nada saiu."
_HERE = "O pedido foi recusado aqui, antes de abrir a conexão."

NETWORK = (
    not_sent(
        "rede.recusada", ErrorKind.REDE, Fault.PROVEDOR, Code.NETWORK_ERROR, ContaEm.PROVEDOR,
        "O provedor não aceitou a conexão. Confira se ele está no ar e se o endereço está certo; a mensagem volta.",
        "A conexão nunca chegou a existir.",
    ),
    not_sent(
        "rede.tempo_ao_conectar", ErrorKind.TIMEOUT, Fault.PROVEDOR, Code.TIMEOUT, ContaEm.NENHUM,
        "O provedor demorou demais para aceitar a conexão. A mensagem volta para a fila sozinha.",
        "A conexão nunca chegou a existir.",
    ),
    unknown(
        "rede.perdida", ErrorKind.REDE, Fault.PROVEDOR, Code.NETWORK_ERROR, ContaEm.PROVEDOR,
        "A conexão com o provedor caiu no meio da chamada. A conciliação procura a mensagem; não reenvie antes disso.",
        _AFTER_WRITING,
    ),
    unknown(
        "rede.tempo", ErrorKind.TIMEOUT, Fault.PROVEDOR, Code.TIMEOUT, ContaEm.NENHUM,
        "O provedor recebeu o pedido e não respondeu a tempo. A conciliação procura a mensagem; não reenvie antes.",
        "Desistir de esperar não cancela o envio no provedor.",
    ),
    unknown(
        "rede.ilegivel", ErrorKind.SERVIDOR, Fault.PROVEDOR, Code.INVALID_REPLY, ContaEm.PROVEDOR,
        "O provedor respondeu algo que não é HTTP. Veja se há um proxy no caminho; a conciliação procura a mensagem.",
        _AFTER_WRITING,
    ),
)  # fmt: skip

OURS = (
    not_sent(
        "nos.retirada", ErrorKind.INTERNO, Fault.NOS, Code.WITHDRAWN, ContaEm.NENHUM,
        "O envio foi desfeito antes de sair, porque algo mudou no último instante. A mensagem é decidida de novo.",
        "Nada foi escrito na conexão.",
    ),
    not_sent(
        "nos.pedido_invalido", ErrorKind.INTERNO, Fault.NOS, Code.REQUEST_INVALID, ContaEm.NENHUM,
        "O número ou o texto não pode ser escrito num pedido. Corrija o cadastro ou o texto e crie um novo envio.",
        _HERE, retryable=False,
    ),
    not_sent(
        "nos.endereco_invalido", ErrorKind.CREDENCIAL, Fault.NOS, Code.REQUEST_INVALID, ContaEm.CHIP,
        "O endereço do provedor ou a chave deste chip tem caracteres inválidos. Grave-os de novo na página do chip.",
        _HERE, rest_s=5 * MINUTE,
    ),
    not_sent(
        "nos.sem_credenciais", ErrorKind.CREDENCIAL, Fault.NOS, Code.CREDENTIALS_MISSING, ContaEm.CHIP,
        "Faltam credenciais do chip. Preencha-as na página do chip; enquanto isso as mensagens saem por outros.",
        _HERE, rest_s=5 * MINUTE,
    ),
    not_sent(
        "nos.chip_removido", ErrorKind.CREDENCIAL, Fault.CHIP, Code.CREDENTIALS_MISSING, ContaEm.NENHUM,
        "O chip foi removido, ou seu segredo ficou ilegível, entre a escolha e o envio. Outro chip leva a mensagem.",
        "Sem endereço nada foi escrito.",
    ),
    unknown(
        "nos.cortada", ErrorKind.TIMEOUT, Fault.NOS, Code.UNKNOWN, ContaEm.NENHUM,
        "A Julia foi desligada com a chamada aberta. A conciliação procura a mensagem; não reenvie antes disso.",
        "A chamada estava aberta: o provedor pode tê-la executado.",
    ),
    unknown(
        "nos.erro_interno", ErrorKind.INTERNO, Fault.NOS, Code.UNKNOWN, ContaEm.NENHUM,
        "Um erro da própria Julia interrompeu a chamada. Veja o log pelo código de correlação.",
        "Ninguém sabe se o pedido já tinha sido escrito.",
    ),
    not_sent(
        "nos.commit_em_duvida", ErrorKind.INTERNO, Fault.NOS, Code.UNKNOWN, ContaEm.NENHUM,
        "O banco não confirmou a reserva a tempo, então nada foi enviado nesta tentativa. A mensagem volta sozinha.",
        "Uma tentativa cuja gravação está em dúvida nunca é enviada.",
    ),
    unknown(
        "nos.lease_expirado", ErrorKind.DESCONHECIDO, Fault.NOS, Code.UNKNOWN, ContaEm.NENHUM,
        "O processo que enviava parou antes de registrar o resultado. A conciliação procura a mensagem.",
        "O processo pode ter morrido depois de escrever o pedido.",
    ),
    unknown(
        "nos.sem_dono", ErrorKind.DESCONHECIDO, Fault.NOS, Code.UNKNOWN, ContaEm.NENHUM,
        "A linha foi mudada à mão enquanto a mensagem estava no fio. A conciliação procura a mensagem.",
        "A chamada já podia ter sido escrita quando a linha mudou.",
    ),
)  # fmt: skip


def unlisted(name: str, provider: str, spoken: str) -> tuple[Entry, ...]:
    """The answers of one provider that no table of the contract lists: always unknown, only the trouble differs."""

    def entry(suffix: str, kind: ErrorKind, fault: Fault, code: Code, circuit: ContaEm, sentence: str, rest_s: int = 0,
              *, restriction: bool = False) -> Entry:  # fmt: skip
        text = sentence.format(provedor=spoken)
        return unknown(
            f"{name}.{suffix}", kind, fault, code, circuit, text, _UNLISTED,
            provider=provider, rest_s=rest_s, restriction=restriction,
        )  # fmt: skip

    def restricted(suffix: str, code: Code, sentence: str) -> Entry:
        return entry(
            suffix, ErrorKind.RESTRICAO, Fault.CHIP, code, ContaEm.CHIP, sentence, 30 * MINUTE, restriction=True
        )

    chip, provedor = Fault.CHIP, Fault.PROVEDOR
    return (
        restricted("restricao_banido", Code.BANNED,
                   "A {provedor} diz que este chip foi banido. Ele sai da produção; confira o aparelho."),
        restricted("restricao_bloqueado", Code.BLOCKED,
                   "A {provedor} diz que o envio por este chip está bloqueado. Ele sai da produção; veja o aparelho."),
        restricted("restricao_restrito", Code.ACCOUNT_RESTRICTED,
                   "A {provedor} diz que a conta deste chip está restrita. Ele sai da produção e descansa."),
        restricted("restricao_spam", Code.SPAM_DETECTED,
                   "A {provedor} fala em spam. O chip sai da produção; revise o texto da campanha."),
        restricted("restricao_limite", Code.RATE_LIMITED,
                   "A {provedor} diz que este chip enviou demais. Ele sai da produção e descansa."),
        entry("http_400", ErrorKind.DESCONHECIDO, chip, Code.UNKNOWN, ContaEm.CHIP,
              "A {provedor} recusou com 400 sem dizer por quê, e pode ter enviado mesmo assim. O chip descansa.",
              15 * MINUTE),
        entry("http_403", ErrorKind.RESTRICAO, chip, Code.ACCOUNT_RESTRICTED, ContaEm.CHIP,
              "A {provedor} proibiu o envio por este chip (403). Ele sai da produção; confira o aparelho.",
              60 * MINUTE, restriction=True),
        entry("http_429", ErrorKind.RATE_LIMIT, chip, Code.RATE_LIMITED, ContaEm.NENHUM,
              "A {provedor} pediu para enviar mais devagar (429). O chip descansa o tempo pedido, ou 5 minutos.",
              5 * MINUTE),
        entry("http_4xx", ErrorKind.DESCONHECIDO, provedor, Code.UNKNOWN, ContaEm.PROVEDOR,
              "A {provedor}, ou um proxy na frente dele, recusou o pedido. Confira endereço e versão do provedor."),
        entry("http_503", ErrorKind.SERVIDOR, provedor, Code.SERVER_ERROR, ContaEm.PROVEDOR,
              "A {provedor} está indisponível (503). A conciliação procura a mensagem; o chip descansa.", 5 * MINUTE),
        entry("http_5xx", ErrorKind.SERVIDOR, provedor, Code.SERVER_ERROR, ContaEm.PROVEDOR,
              "A {provedor} respondeu com erro interno. A conciliação procura a mensagem; veja o log do provedor."),
        entry("http_estranho", ErrorKind.DESCONHECIDO, provedor, Code.INVALID_REPLY, ContaEm.PROVEDOR,
              "A {provedor} respondeu com um código que não existe no contrato. Confira a versão do provedor."),
    )  # fmt: skip
