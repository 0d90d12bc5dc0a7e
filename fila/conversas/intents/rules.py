"""The phrases, one family each. A rule finds its phrase in a clause; its judge says what the phrase means there."""

import re
from dataclasses import dataclass

from fila.conversas.intents import judges
from fila.conversas.intents.choices import Intent
from fila.conversas.intents.judges import Judge
from fila.conversas.intents.vocabulary import FILLER, MINE, NOUN, ONLY_FILLER, ONLY_US, TO_ME, only


@dataclass(frozen=True, slots=True)
class Rule:
    """`asked` is what the phrase means in a question, None: the same as elsewhere.

    `in_any_context`: it means that also under a condition ("se continuar") or said of somebody else.
    """

    name: str
    pattern: re.Pattern[str]
    judge: Judge
    asked: Intent | None = Intent.NONE
    in_any_context: bool = False


def _rule(
    name: str, pattern: str, judge: Judge, *, asked: Intent | None = Intent.NONE, in_any_context: bool = False
) -> Rule:
    return Rule(name, re.compile(pattern), judge, asked, in_any_context)


SEND = (
    r"(?:mand(?:ar|ando|arem|assem?|em|es|e)|envi(?:ar|ando|arem|assem?|em|es|e)|escrev(?:er|erem|endo|am|a)|"
    r"encaminh(?:ar|arem|ando|em|e)|dispar(?:ar|em|e)|contat(?:ar|arem|em|e)|contact(?:ar|arem|em|e)|"
    r"entr(?:ar|arem|assem?|em|e) (?:mais )?em contato)"
)
BOTHER = r"(?:incomod(?:ar|arem|em|e)|perturb(?:ar|arem|em|e)|importun(?:ar|em|e)|encher(?:em)?(?: o saco)?)"
CEASE = (
    r"(?:par(?:arem|assem?|ar|em?|am|a|o)|cess(?:ar|em|e)|deix(?:ar|em|e)|evit(?:em|e))(?: agora| ja)? de(?: ficar)?"
)
REMOVE = (
    r"(?:tir(?:ar|em|e|a)|remov(?:er|am|a|e)|retir(?:ar|em|e|a)|exclu(?:ir|am|a|i)|apag(?:ar|uem|ue|a)|"
    r"delet(?:ar|em|e|a)|perca|percam|esquec(?:am|a|e)|risqu?(?:em|e|a))"
)
MY_DATA = r"(?:[oa]s? )?meus? (?:numero|contato|telefone|whatsapp|celular|nome|cadastro|dados|registro|email)"
TARGET = only(
    rf"{FILLER}|te|lhe|[oa]s|agora|aqui|tudo|todos|sera|serao|esta|estao|logo|mais uma vez|denunciar|"
    r"(?:[oa]s? |d?(?:ess|est)[ae]s? |suas? |seus? )?(?:numeros?|contatos?|telefones?|whatsapp|chip|empresa)|"
    r"denunciad[oa]|bloquead[oa]"
)
AUTHORITY = only(
    rf"{FILLER}|ao?|n[ao]|em|como|por|para|te|lhe|[oa]s?|ess[ae]s?|est[ae]s?|isso|numero|contato|empresa|spam|whatsapp|"
    r"meta|procon|anpd|policia|justica|judicialmente|assedio|importunacao|crm|delegacia|ministerio publico|golpe|agora"
)
ALERT = Intent.OPT_OUT_WITH_ALERT
WRONG_NUMBER = Intent.WRONG_NUMBER
PREFERENCE = Intent.PREFERENCE
COOLING_OFF = Intent.COOLING_OFF

THREATS = (
    _rule(
        "ameaça de bloqueio",
        r"\b(?:vou|vamos|irei|terei|tive|ter|estou|acabo|acabei|pretendo|serei)"
        r"(?: (?:te|lhe|[oa]s|ter|que|de|a|ser|obrigad[oa]|todos|voces|(?:ess|est)e numero))* "
        r"(?:bloquear|bloqueando|block)\b",
        judges.when_tail(TARGET, ALERT),
        in_any_context=True,
    ),
    _rule(
        "bloqueado ou denunciado",
        r"\b(?:bloquead[oa]s?|bloqueei|bloqueando|te bloqueio|block|denunciad[oa]s?|denunciei|reportad[oa]s?|reportei|"
        r"denuncia (?:feita|enviada|registrada))\b",
        judges.when_clause(TARGET, ALERT),
        in_any_context=True,
    ),
    _rule(
        "ameaça de denúncia",
        r"\b(?:vou|vamos|irei|estou|pretendo|posso|terei|ter)"
        r"(?: (?:te|lhe|[oa]s|ter|que|de|fazer|uma|abrir|voces))* "
        r"(?:denunci(?:ar|a|ando)|reportar|reportando|processar)\b",
        judges.when_tail(AUTHORITY, ALERT),
        in_any_context=True,
    ),
    _rule(
        "ameaça legal",
        r"\b(?:procon|anpd|boletim de ocorrencia|vou (?:fazer|registrar|abrir) (?:um )?bo|danos morais|"
        r"acion\w+ (?:[oa] )?(?:meu |minha )?(?:advogad\w+|justica)|"
        r"(?:medidas?|providencias?|vias) (?:judicia(?:l|is)|juridicas?|lega(?:l|is)|cabiveis)|"
        r"(?:entrar|mover|abrir|ajuizar)(?: com)?(?: uma?)? (?:acao|processo))\b"
        r"(?!.*\b(?:contrato|plantao|vaga|perito|pericia)\b)",
        judges.always(ALERT),
        in_any_context=True,
    ),
    _rule(
        "lgpd",
        r"^(?=.*\b(?:lgpd|lei geral de protecao)\b).*\b(?:exclu|remo[vc]|apag|delet|retir|solicit|exij|exig|viol|"
        r"infring|descumpr|desrespeit|fere|contra|conforme|de acordo|consent)",
        judges.always(ALERT),
        in_any_context=True,
    ),
    _rule("acusação de spam", r"\bspam(?:s|mers?)?\b", judges.spam, in_any_context=True),
    _rule(
        "acusação de assédio",
        r"\b(?:isso|isto|ja)(?: \w+){0,3} (?:eh|virou|parece|configura)"
        r"(?: \w+){0,3} (?:assedio|perseguicao|importunacao)\b",
        judges.always(ALERT),
        in_any_context=True,
    ),
)

WRONG_PERSON = (
    _rule(
        "falecimento",
        r"\b(?:faleceu|morreu|veio a falecer|(?:veio|foi) a obito|eh falecid[oa])\b",
        judges.death,
        in_any_context=True,
    ),
    _rule(
        "número errado",
        r"\b(?:numero|telefone|contato|pessoa|destinatario) (?:errad[oa]|trocad[oa]|equivocad[oa])\b",
        judges.wrong_number,
        in_any_context=True,
    ),
    _rule(
        "engano",
        r"^(?:(?:acho|creio|deve|so pode|que|isso|foi|eh|ser|houve|um|por|desculpe) )*engano$|"
        r"\b(?:err(?:ou|aram)|enganou|enganaram) (?:de|o|no|com o) (?:numero|pessoa|contato|telefone|destinatario)\b",
        judges.always(WRONG_NUMBER),
    ),
    _rule(
        "não é o número da pessoa",
        r"^(?:(?:ess|est)e |aqui |o |quem |fala |desculpe |numero |telefone |celular |whatsapp |contato |ja )*"
        r"nao (?:eh|pertence)(?: mais)?(?: ao?| [oa])?(?: (?:numero|telefone|celular|contato))?(?: d?[oa]| ao?)?"
        r" (?:dra?|doutora?|medic[oa])\b",
        judges.not_that_person,
    ),
    _rule(
        "número de outra pessoa",
        r"\b(?:ess|est)e (?:numero|telefone|celular|contato|whatsapp) (?:ja )?nao (?:eh|pertence)(?: mais)? "
        r"(?:d[ao]|d?el[ae]|ao?)\b(?! (?:whatsapp|trabalho|consultorio|hospital|plantao))|"
        r"\bnumero (?:agora )?(?:eh|pertence)(?: [ao])? (?:de )?outra pessoa\b",
        judges.always(WRONG_NUMBER),
    ),
    _rule(
        "a pessoa trocou de número",
        r"\b(?:dra?|doutora?|el[ae])\b(?: \w+){0,3} (?:trocou|mudou) de (?:numero|telefone)\b",
        judges.always(WRONG_NUMBER),
    ),
    _rule(
        "não é a pessoa",
        r"\bnao sou (?:[oa] |ess[ae] |est[ae] )?(?:dra?|doutora?|pessoa)\b|\bnao me chamo\b|\bmeu nome nao eh\b|"
        r"\bnao sou medic[oa]$|\bnao conheco (?:nenhuma?|ess[ae]|est[ae]) (?:dra?|doutora?|pessoa)\b|"
        r"\bnao (?:conheco|tem|existe) nenhuma? (?:dra?|doutora?|medic[oa])\b(?! (?:disponivel|para))|"
        r"\bnao sou quem voces? procura|\bnao tem ninguem (?:com esse nome|chamad[oa])\b",
        judges.not_that_person,
    ),
)

STOPS = (
    _rule(
        "pare de me mandar",
        rf"\b{CEASE} (?:me|nos) (?:{SEND}|{BOTHER}|manda|envia|procurar|chamar)\b",
        judges.stop_doing_it_to_me,
        asked=None,
    ),
    _rule("pare de mandar", rf"\b{CEASE} (?:{SEND}|{BOTHER}|manda|envia|receber)\b", judges.stop_plainly, asked=None),
    _rule("não param de mandar", rf"\bnao param? de (?:me )?(?:{SEND})\b", judges.pause_if_explicit, asked=None),
    _rule(
        "chega de mensagem",
        r"\b(?:(?:chega|basta) de|(?:pare|parem|parar|para) com) (?:(?:ess[ae]s?|tant[ao]s?|[ao]s?) )?"
        r"(?:mensagem|contatos?|propagandas?|anuncios?|publicidade)\b",
        judges.stop_plainly,
    ),
    _rule(
        "não mande",
        r"\bnao (?:(?:quero|gostaria|desejo|peco|queremos|eh) (?:mais )?(?:que|para) (?:voces )?)?"
        rf"(?:(?:me|nos|mais|voltem? a|tornem? a|tentem?) )*{SEND}\b",
        judges.stop,
        asked=None,
    ),
    _rule(
        "não me manda",
        r"(?<!voces )(?<!el[ae] )\bnao (?:(?:(?:me|nos|mais) )+(?:manda|envia)|(?:manda|envia) mais)\b",
        judges.stop,
        asked=PREFERENCE,
    ),
    _rule("não precisa mandar", r"\bnao precisam? (?:mais )?(?:me )?(?:mandar|enviar)\b", judges.pause_if_explicit),
    _rule(
        "não quero receber",
        r"\bnao (?:quero|queria|queremos|desejo|gostaria|pretendo|aceito|autorizo|tenho (?:mais )?interesse)"
        r"(?: (?:mais|de|em|ser|nunca|continuar|seguir|voltar a|ter|nenhuma?))* "
        r"(?:receb(?:er|endo)|(?:contat|contact|incomod|procur)ad[oa]s?|contatos?|mensagem|propagandas?|anuncios?)\b",
        judges.stop,
    ),
    _rule(
        "prefiro não receber",
        r"\b(?:prefiro|gostaria de|quero|desejo|peco para) nao (?:mais )?receber\b",
        judges.stop,
    ),
    _rule(
        "não aguento mais receber",
        rf"\bnao aguento mais (?:receber |tant[ao]s? |ess[ae]s? )*{NOUN}",
        judges.when_tail(ONLY_US, COOLING_OFF),
    ),
    _rule(
        "não perturbe",
        r"\b(?:me deix(?:a|em|e|ar)|deix[ae] eu) em paz\b|\bme esquec(?:am|a|e)\b|"
        rf"\bnao (?:(?:me|nos|mais) )*{BOTHER}\b|"
        r"\bnao (?:mais )?me (?:mais )?(?:procur(?:em|e)|busquem?|cham(?:em|e)(?! d[eao]\b)|chama mais)\b|"
        r"\bnao fal(?:em|e|a) mais comigo\b",
        judges.stop_plainly,
    ),
    _rule("apague meus dados", rf"\b{REMOVE} {MY_DATA}\b", judges.off_the_list, asked=None),
    _rule(
        "me tire da lista",
        rf"\b(?:me|nos) {REMOVE}\b|\b{REMOVE} (?:me|eu|(?:ess|est)e numero|[oa] (?:nome|numero|contato) d(?:el[ae]))\b",
        judges.off_the_list,
        asked=None,
    ),
    _rule(
        "quero ser removido",
        r"\bser (?:removid|excluid|retirad|descadastrad|tirad|apagad)[oa]s?\b|"
        rf"\b(?:exclusao|remocao|retirada|descadastr(?:o|amento))(?: imediat[oa])? d[oae]s? (?={MY_DATA})",
        judges.off_the_list,
    ),
    _rule(
        "descadastrar",
        r"\b(?:me |quero |favor )*(?:descadastr(?:arem|ar|em|e|a)|desinscrev(?:er|am|a)|unsubscribe)\b",
        judges.off_the_list,
    ),
    _rule(
        "sair da lista",
        r"\b(?:(?:quero|queria|gostaria de|desejo|preciso|solicito|favor|vou|para) (?:me )?(?:sair|retirar|desligar)|"
        r"nao quero(?: mais)? (?:fazer parte|estar|constar|participar|ficar))(?= \w)",
        judges.off_the_list,
    ),
    _rule(
        "cancelar recebimento",
        r"\b(?:cancel(?:ar|em|a|e)|suspend(?:er|am|a)|interromp(?:er|am|a)) "
        r"(?:(?:[oa]s?|meus?|minhas?|(?:ess|est)[ae]s?|todos|todas) )*"
        r"(?:recebimentos?|inscric(?:ao|oes)|assinatura|envios?|mensagem|cadastro|contatos?|disparos?)\b",
        judges.stop_plainly,
        asked=None,
    ),
)

PARTIAL_STOPS = (
    _rule(
        "ligações",
        r"\b(?:par(?:ar|em|e|a) de (?:me )?(?:ligar|telefonar)|nao (?:me )?(?:lig(?:uem|ue)|telefon(?:em|e)))\b",
        judges.when_tail(only(f"{FILLER}|{TO_ME}|{MINE}"), PREFERENCE),
    ),
    _rule(
        "só uma parte",
        r"\bso (?:me )?(?:mand(?:em|e|a|ar)|envi(?:em|e|a|ar))\b|"
        r"\b(?:mand(?:em|e|a)|envi(?:em|e|a)) (?:so|somente|apenas)\b",
        judges.a_part,
    ),
    _rule(
        "mensagens demais",
        r"\b(?:menos|muitas?|tantas?) mensagem\b|\bmensagem demais\b",
        judges.always(PREFERENCE),
    ),
    _rule("não conhece a pessoa", r"\bnao conheco [oa] (?:dra?|doutora?)\b", judges.always(PREFERENCE)),
    _rule(
        "outro número",
        r"\b(?:no|nesse|meu|para o|use o|usem o) (?:outro|novo) numero\b|"
        r"\b(?:troquei|mudei) de (?:numero|telefone)\b|"
        r"\bnumero (?:eh )?(?:so |apenas |somente )*(?:para|d[oa]s?|de) (?:pacientes?|consultorio|clinica|familia)\b",
        judges.always(PREFERENCE),
    ),
)

REFUSALS = (
    _rule(
        "sem vagas",
        r"\bnao (?:quero|queremos|desejo|busco|procuro|preciso de|estou (?:mais )?(?:buscando|procurando))"
        r"(?: mais)?(?: nenhuma?| nov[ao]s?)? (?:vagas?|plantao|plantoes|ofertas?|propostas?|oportunidades?)\b",
        judges.no_offers,
    ),
    _rule(
        "sem interesse",
        r"\b(?:nao (?:tenho|temos|ha|possuo)|sem|perdi o|zero|nenhum)"
        r"(?: (?:mais|nenhum|muito|algum|o menor|qualquer))* interesse\b(?! em (?:receber|ser))|"
        r"\bnao (?:me )?interess(?:a|o|ou)\b|"
        r"\bnao (?:estou|fiquei|estamos)(?: mais| muito)* interessad[oa]s?\b",
        judges.no_interest,
    ),
    _rule(
        "não autorizou",
        r"\b(?:nao|nunca) (?:autorizei|permiti|dei (?:minha )?(?:autorizacao|permissao|consentimento))\b",
        judges.always(COOLING_OFF),
    ),
    _rule(
        "me bloqueie",
        r"\bme bloque(?:ia|ie|ar|iem)\b|\bbloque(?:ar|ia|ie) (?:o )?meu (?:numero|contato|cadastro)\b|"
        r"\bnao quero mais falar com voces\b",
        judges.when_tail(ONLY_FILLER, COOLING_OFF),
        asked=None,
    ),
    _rule(
        "hostilidade",
        r"\bvai (?:se (?:foder|fuder|ferrar|lascar)|tomar no cu|para (?:a |o )?(?:merda|pqp|inferno|puta que pariu))\b|"
        r"\b(?:vtnc|vtmnc|vsf|fdp)\b|\bgolpistas?\b|\b(?:eh|parece|isso) (?:um )?golpe\b|"
        r"\bchega de (?:vagas?|plantao)\b|\bnao sou mais medic[oa]\b|\b(?:pare|parem|para|parar) com (?:isso|isto)\b|"
        r"\bja (?:pedi|falei|disse)(?: mil vezes| varias vezes)? (?:para|que) (?:parar|parem)\b",
        judges.when_tail(ONLY_US, COOLING_OFF),
    ),
)

RULES = (*THREATS, *WRONG_PERSON, *STOPS, *PARTIAL_STOPS, *REFUSALS)
