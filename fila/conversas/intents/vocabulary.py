"""Words that surround a request to stop: filler, names for what we send, lists, dates, commands.

Patterns read the plain words of `plain_text`: no accents, "é" is "eh", "você" is "voces", "msgs" is "mensagem".
"""

import re


def only(words: str) -> re.Pattern[str]:
    """Matches text made of nothing but these words, or none; possessive, so that no text makes it slow."""
    return re.compile(rf"(?:(?:{words})(?: |$))*+")


FILLER = (
    r"por favor|por gentileza|por obsequio|favor|gentileza|(?:muito )?obrigad[oa]s?|grat[oa]|agradeco|valeu|desculpem?|"
    r"desculpa|pelo amor de deus|urgente|imediatamente|o quanto antes|ok|ta bom|ta|viu|entendeu|certo|sim|oi+|ola|opa|"
    r"bom dia|boa tarde|boa noite|julia|dra?|doutora?|gente|pessoal|amig[oa]|moc[oa]|cara|senhora?|voces|eu|ja|ai|hein|"
    r"ne|k+|rs+|abracos?|att|atenciosamente|de vez|realmente|mesmo|entao|tambem"
)
NOUN = (
    r"(?:mensagem|contatos?|coisas?|isso|isto|nada|propagandas?|publicidades?|anuncios?|ofertas?|propostas?|"
    r"oportunidades?|divulgac(?:ao|oes)|notificac(?:ao|oes)|avisos?|informac(?:ao|oes)|comunicac(?:ao|oes)|vagas?|"
    r"plantao|plantoes|conteudos?|recados?|whatsapp|sms|convites?|spams?|porcarias?|lixos?|besteiras?|"
    r"bobag(?:em|ens)|merdas?|disparos?|envios?)"
)
_THIS = r"(?:ess[ae]|est[ae])s?"
THING = (
    rf"(?:(?:d[aeo]s?|d{_THIS}|{_THIS}|sobre|com|em|n[ao]s?) )?"
    rf"(?:(?:{_THIS}|suas?|seus?|[ao]s?|umas?|uns?|qualquer|nenhuma?|tod[ao]s?|outr[ao]s?|mais|"
    rf"tipo de(?! (?:vaga|plant))) )*{NOUN}"
    r"(?: (?:automatic[oa]s?|comercia(?:l|is)|promociona(?:l|is)|indesejad[oa]s?|chat[oa]s?))?"
)
TO_ME = (
    r"(?:a |para |com )?me|comigo|de voces|nunca|jamais|mais|nao|de novo|novamente|outra vez|aqui|por aqui|para ca|nos"
)
MINE = r"(?:(?:n[oa]|para|para o|d[oa]|o) )?meu (?:numero|whatsapp|celular|telefone|contato|cadastro|nome)|meus dados"
LIST = (
    rf"(?:(?:[dn]?(?:[ao]s?|{_THIS})|de(?: tod[ao]s)?(?: [ao]s)?) (?:suas? |seus? )?"
    r"(?:listas?|cadastros?|bases?|mailing|contatos?|sistema|banco|disparos?|envios?|transmissao|registros?)"
    r"(?: de (?:transmissao|contatos?|disparos?|envios?|divulgacao|mensagem|whatsapp|vagas?|plantoes|medicos|dados|"
    r"emails?|telefones?|propagandas?|marketing|ofertas|voces))?|da sua agenda|daqui|disso|dai)"
)
ONLY_US = only(f"{LIST}|{THING}|{MINE}|{FILLER}|{TO_ME}")
ONLY_FILLER = only(f"{FILLER}|{MINE}|me|nao")
ONLY_PRESENT = only(
    r"no momento|por enquanto|por ora|agora|atualmente|em (?:trabalhar|plantonar)|algum|nenhum|nisso|mais|nao|"
    rf"{THING}|{FILLER}"
)
EXPLICIT = re.compile(rf"\b(?:mais|nunca|jamais|{NOUN}|(?:contat|contact|incomod|procur)ad[oa]s?|em contato)\b")
ONE_ITEM = re.compile(r"\b(?:[dn]?(?:ess[ae]|est[ae]|[oa])|aquel[ae]) (?:vaga|plantao|oferta|proposta|oportunidade)\b")
ONE_OF_THESE = re.compile(r"\b[dn]?(?:ess|est|aquel)[ae]s?\b")
THIS_NUMBER = re.compile(r"\bd?(?:ess[ae]|est[ae]) (?:numero|contato|telefone|celular)\b")
FOR_OTHERS = re.compile(
    r"\b(?:para|com|ao?) (?:[oa]s? |meus? |minhas? |seus? |suas? )?"
    r"(?:el[ae]s?|pacientes?|coordenador\w*|colegas?|chefe|secretari[oa]|grupo|hospital|clinica|equipe)\b"
)
PART = re.compile(
    rf"\b(?:{NOUN}|numero|telefone|celular|email|ligac\w+|audios?|textos?|links?|noite|noturn\w+|madrugada|manha|tarde|"
    r"agora|hoje|semana|segundas?|tercas?|quartas?|quintas?|sextas?|sabados?|domingos?|feriados?|horario|ferias|depois|"
    r"antes|ate|tao cedo|dias?|hora)\b"
)
DATE = re.compile(
    r"\b(?:hoje|amanha|segunda|terca|quarta|quinta|sexta|sabado|domingo|dias? \d+|\d+ ?h\w*|semana que vem|"
    r"(?:proxim|n?ess|n?est)[ao] (?:semana|mes|dia|data|fim|final)|mes que vem|janeiro|fevereiro|marco|abril|maio|"
    r"junho|julho|agosto|setembro|outubro|novembro|dezembro)\b"
)
SOMETHING_ELSE = re.compile(
    r"^(?:mais )?(?:[oa]s?|umas?|uns?|meus?|minhas?|seus?|suas?) "
    rf"(?!(?:{NOUN}|outr\w+|noite|tarde|numero|celular)\b)\w+"
)
OTHER_LISTS = re.compile(
    r"\b(?:espera|presenca|candidat\w+|escala|chamada|convidad\w+|aprovad\w+|inscrit\w+|plantonistas?)\b"
)
FAMILY = re.compile(
    r"\b(?:meu|minha|noss[ao]) (?:pai|mae|marido|espos[oa]|irma|irmao|av[oa]|filh[oa]|ti[oa]|sogr[oa]|prim[oa]|"
    r"companheir[oa]|familiar|amig[oa])\b"
)
STOP_SIGNS = re.compile("[\U0001f6d1\U0001f6ab⛔\U0001f595]")  # stop sign, prohibited, no entry, middle finger

# Before a match
NEGATED = re.compile(
    r"\b(?:nao|nem|nunca|jamais)(?: (?:me|se|precis\w+|quer\w*|vou|posso|podem?|deixe?m?|eh|para|era|que|pedi|falei|"
    r"disse|quis|pretendo|penso|em|estou|voces|mais|vao|va))*$"
)
CONDITION = re.compile(r"\b(?:se|quando|caso|enquanto|sempre que|toda vez que)\b")
COURTESY = re.compile(
    r"\b(?:se|quando) (?:voces )?(?:puder\w*|for possivel|possivel|der|nao for (?:pedir muito|incomodo)|"
    r"nao se import\w+)"
)
SOMEBODY_ELSE = re.compile(
    r"\b(?:el[ae]s?|pacientes?|coordenador\w*|colegas?|chefe|secretari[oa]|grupo|hospital|clinica|espos[oa]|marido|"
    r"avis[ae]|fal[ae] para|diz para|diga para)\b"
)
HOW = re.compile(
    r"\b(?:(?<!tem )como|onde|aonde|qual|de que forma|o que (?:eu )?(?:faco|devo fazer|preciso fazer))\b"
    r"(?! (?:eu )?(?:ja )?(?:falei|disse|pedi|expliquei|informei|avisei|combinad\w))"
)
MAY_I = re.compile(r"\b(?:tem (?:como|jeito|alguma forma)|da para|eh possivel|seria possivel|existe|posso|consigo)\b")

# In another clause
RESERVE = re.compile(
    r"\b(?:(?<!nao )me (?:avis|cham|procur)\w+(?! mais)|prefiro(?! nao)|exceto|a nao ser|"
    r"so (?:se|quando|quero|aceito|tenho interesse|(?:me )?(?:mand|envi|interess)\w*)|"
    r"(?:apenas|somente) (?:se|quando|quero|aceito|mand\w*|envi\w*|vagas?|plantoes)|"
    r"podem? (?:me )?(?:continuar|mandar|enviar|ligar)|(?:tem|teria) outr[oa]s?|"
    r"outr[oa]s? (?:vagas?|plantao|plantoes|hospital|hospitais|datas?|horarios?|opcao|opcoes))\b"
)
CONTRAST = re.compile(
    r"^(?:mas|porem|contudo|entretanto) (?!(?:muito |desde ja |de qualquer forma )?"
    r"(?:obrigad|agradec|grat|valeu|desculp|sucesso|boa sorte|bom trabalho|desejo|tudo bem))"
)

# Leaving, as a question and as a whole message
LEAVING = re.compile(
    r"\b(?:(?:parar(?:em)?|paro|deixar|deixo) de (?:receber|me (?:mandar|enviar))|nao (?:mais )?receber(?: mais)?|"
    r"(?:me )?(?:descad|desinscr)\w+|"
    r"cancel(?:ar|o) (?:[oa]s? |meu |minha |ess[ae]s? )*(?:recebimento|inscricao|assinatura|cadastro|mensagem|envios?)|"
    r"(?:tirar|remover|retirar|excluir|apagar|deletar|tiro|removo|retiro|excluo|apago) (?:[oa]s? )?meus? "
    r"(?:numero|contato|telefone|nome|cadastro|dados)|"
    rf"(?:sair|saio|(?:me )?(?:tirar|remover|retirar|excluir|tiro|removo))(?: {LIST}|$))"
)
DOES_IT_ONESELF = re.compile(r"(?:(?:parar|deixar) de receber|nao |(?:me )?desc|(?:me )?desin|cancel|sair)")
COMMAND = re.compile(
    r"pare|parem|parar|stop|sair|cancelar|bloquear|fora da lista|opt ?out|unsubscribe|"
    r"(?:(?:quero|solicito|favor) )?(?:me |meu |o )?descadastr(?:ar|em|e|a|o|amento)|(?:quero )?(?:me )?desinscrever|"
    r"nao perturbe|(?:quero )?sair(?: da lista)?|remover? da lista|"
    r"(?:podem?|quero que|eh para|peco que|pedi para)(?: voces)? (?:parar|parem|pare|pararem)"
)
DOUBTFUL_COMMAND = re.compile(
    r"para|par[ae]m? de|chega(?: disso)?|basta|desisto|desisti|cancel[ae](?: tudo)?|(?:pode|quero) cancelar|me tir[ae]|"
    r"cansei|ja deu|deu|(?:(?:falei|disse) que )?nao quero(?: mais)?|quero(?: mais)? nao|sai fora|some|suma|vaza|fora|"
    r"nao (?:me )?ench[ae]m?(?: o saco)?|me (?:erra|larga)|nao me amol[ae]|nao insistam?|nao insistir|dispenso|"
    r"nao aguento mais|quero parar|me poupem?|nao quero (?:nada|saber|papo|conversa)(?: de)?|"
    r"(?:me )?mand[ae] mais(?: mensagem)? nao|estou fora|remover|remova|excluir|exclua|apagar|deletar|delete"
)
POLITE_QUESTION = re.compile(r"(?:podem?|da para)(?: voces)? parar(?: por favor)?")
IMPERATIVE = re.compile(r"pare|parem|stop|quero sair")
