"""Six threads of an internal IT and analytics agent, as data."""

from typing import Final

from slack_agents.tools.base import (
    ERROR_INPUT_ERROR,
    ERROR_PERMISSION_DENIED,
    ERROR_SYSTEM_ERROR,
    RECOVERY_ABORT,
    RECOVERY_CONTACT_ADMIN,
    RECOVERY_RETRY,
)

from slack_agents_sqlalchemy.demo.attachments import bar_chart_png, table_csv, text_pdf
from slack_agents_sqlalchemy.demo.script import (
    Channel,
    File,
    Thread,
    Turn,
    Upload,
    Usage,
    User,
    answered,
    failed,
)

AGENT_NAME: Final = "hello-storage"
AGENT_VERSION: Final = "1.0.0"
MODEL: Final = "claude-sonnet-4-6"

_PRIYA = User("U07PRIYA4RN", "Priya Raghavan")
_LUKASZ = User("U07LUKASZ3N", "Łukasz Nowak")
_AMELIE = User("U07AMELIE2D", "Amélie Durand")
_KENJI = User("U07KENJI9WA", "渡辺 健二")

_HELPDESK = Channel("C07ITHELP1K", "it-helpdesk")
_SALES = Channel("C07SALESAN7", "sales-analytics")
_DM_AMELIE = Channel("D07AMELIE2D", "dm-Amélie Durand")

# --- 1. A chart, a wrong query, a right one, and a table as a file --------------------------------

_COUNTRIES = ("Deutschland", "France", "Nederland", "Österreich")
_REVENUE = {  # thousands of euros, by ISO week and country
    "40": (168, 141, 61, 42),
    "41": (160, 138, 60, 40),
    "42": (175, 147, 66, 43),
    "43": (163, 139, 62, 41),
    "44": (178, 150, 68, 44),
    "45": (52, 38, 45, 41),
    "46": (183, 154, 70, 45),
}
_CHART = File(
    "weekly-revenue.png",
    "image/png",
    bar_chart_png(
        {week: sum(countries) for week, countries in _REVENUE.items()},
        marked="45",
        top=500,
        step=100,
    ),
)
_REVENUE_CSV = File(
    "revenue_by_week_and_country.csv",
    "text/csv",
    table_csv(("week", *_COUNTRIES), ((week, *row) for week, row in _REVENUE.items())),
)

_REVENUE_DIP = Thread(
    "Why did revenue drop in week 45?",
    _SALES,
    (
        Turn(
            _KENJI,
            "Revenue fell off a cliff in week 45 (the red bar) and came back a week later. "
            "What happened? 😳",
            (
                "I'll split week 45 by country and compare it with the week before.",
                failed(
                    "run_sales_query",
                    {
                        "sql": "SELECT iso_week, country, sum(amount_eur) FROM orders "
                        "WHERE iso_week IN (44, 45) AND country IN "
                        "('Deutschland', 'France', 'Nederland', 'Österreich') GROUP BY 1, 2",
                        "limit": 50,
                    },
                    error=ERROR_INPUT_ERROR,
                    message='column "amount_eur" does not exist. Columns of orders: id, '
                    "iso_week, country, net_revenue_eur, payment_method, status.",
                    recovery=RECOVERY_ABORT,
                ),
                "The column has another name; I'll ask again with `net_revenue_eur`.",
                answered(
                    "run_sales_query",
                    {
                        "sql": "SELECT iso_week, country, round(sum(net_revenue_eur) / 1000) "
                        "FROM orders WHERE iso_week IN (44, 45) AND country IN "
                        "('Deutschland', 'France', 'Nederland', 'Österreich') GROUP BY 1, 2",
                        "limit": 50,
                    },
                    {
                        "columns": ["iso_week", "country", "revenue_keur"],
                        "rows": [
                            [int(week), country, value]
                            for week in ("44", "45")
                            for country, value in zip(_COUNTRIES, _REVENUE[week], strict=True)
                        ],
                        "row_count": 8,
                        "took_ms": 231,
                    },
                ),
                answered(
                    "search_incidents",
                    {"service": "checkout", "iso_week": 45},
                    {
                        "incidents": [
                            {
                                "id": "INC-3391",
                                "severity": 1,
                                "title": "3-D Secure challenge never returns (Visa, Mastercard)",
                                "started": "Mon 07:42 UTC",
                                "resolved": "Fri 16:05 UTC",
                                "regions": ["eu-central-1", "eu-west-3"],
                            }
                        ]
                    },
                ),
                "It was the checkout, not the demand. 📉\n\n"
                "| k€ | week 44 | week 45 | change |\n"
                "|---|---|---|---|\n"
                "| Deutschland | 178 | 52 | **-71 %** |\n"
                "| France | 150 | 38 | **-75 %** |\n"
                "| Nederland | 68 | 45 | -34 % |\n"
                "| Österreich | 44 | 41 | -7 % |\n\n"
                "`INC-3391` broke 3-D Secure from Monday to Friday in `eu-central-1` and "
                "`eu-west-3`, the regions that serve Germany and France. Week 46 is back to "
                "452 k€.",
            ),
            Usage(46, 612, 3_874, 11_460, 5_210),
            (Upload(_CHART),),
        ),
        Turn(
            _AMELIE,
            "Parfait, merci! Can I have all seven weeks by country as a CSV for the board deck?",
            (
                answered(
                    "export_csv",
                    {
                        "filename": _REVENUE_CSV.filename,
                        "weeks": [40, 46],
                        "columns": list(_COUNTRIES),
                        "unit": "k€",
                    },
                    {
                        "file": _REVENUE_CSV.filename,
                        "rows": len(_REVENUE),
                        "bytes": len(_REVENUE_CSV.data),
                    },
                    _REVENUE_CSV,
                ),
                "Here it is: seven weeks, one column for each country, in k€. "
                "Bon courage pour le board! 🚀",
            ),
            Usage(24, 168, 702, 10_730, 5_812),
        ),
    ),
)

# --- 2. Two users with the same problem, and a slow ticket system ---------------------------------

_VPN = Thread(
    "The VPN drops every few minutes",
    _HELPDESK,
    (
        Turn(
            _PRIYA,
            "The VPN drops every 5 minutes since this morning. Is that known? I'm on macOS, "
            "office Bengaluru.",
            (
                "Let me look for open tickets first.",
                failed(
                    "search_tickets",
                    {"query": "vpn disconnect", "status": "open", "since_hours": 24},
                    error=ERROR_SYSTEM_ERROR,
                    message="The ticket system did not answer within 10 seconds.",
                    recovery=RECOVERY_RETRY,
                ),
                "The ticket system was slow; I'll try once more.",
                answered(
                    "search_tickets",
                    {"query": "vpn disconnect", "status": "open", "since_hours": 24},
                    {"tickets": [], "searched": 38},
                ),
                answered(
                    "create_ticket",
                    {
                        "title": "VPN drops every 5 minutes (macOS, Bengaluru)",
                        "priority": "P3",
                        "reporter": "Priya Raghavan",
                        "component": "vpn-gateway",
                    },
                    {
                        "id": "IT-20417",
                        "queue": "network",
                        "first_response_due": "in 4 h",
                    },
                ),
                "Nobody has reported it yet, so I opened *IT-20417* with the network team. "
                "First answer within 4 hours. Until then the gateway `vpn-sin` may be steadier.",
            ),
            Usage(52, 401, 2_140, 9_020, 3_066),
        ),
        Turn(
            _LUKASZ,
            "Same here in Gdańsk 🙋 on Windows 11, so it's not only macOS.",
            (
                answered(
                    "update_ticket",
                    {
                        "id": "IT-20417",
                        "priority": "P2",
                        "comment": "Also Łukasz Nowak, Gdańsk, Windows 11: not a client problem.",
                    },
                    {"id": "IT-20417", "priority": "P2", "watchers": 2},
                ),
                "Thanks Łukasz. Two offices and two systems point at the gateway, so I raised "
                "*IT-20417* to P2 and added you as a watcher.",
            ),
            Usage(20, 176, 655, 6_402, 3_510),
        ),
        Turn(
            _PRIYA,
            "`vpn-sin` holds so far, thank you 🎉",
            ("Glad to hear it! I'll leave the ticket open for the network team.",),
            Usage(14, 31, 238, 3_510, 3_762),
        ),
    ),
)

# --- 3. An invoice against its purchase order, in a direct message, in French ---------------------

_INVOICE_TITLE = "Facture F-2026-1187"
_INVOICE_LINES = (
    "Société Électrique du Rhône, 14 quai Perrache, 69002 Lyon",
    "Bon de commande : PO-10447",
    "Échéance : 30 jours",
    "",
    "Onduleur 3 kVA, modèle R3       4 x  1 190,00 EUR    4 760,00 EUR",
    "Batterie de rechange R3-B       8 x    145,00 EUR    1 160,00 EUR",
    "Installation (forfait)          1 x    980,00 EUR      980,00 EUR",
    "",
    "Total HT                                             6 900,00 EUR",
    "TVA 20 %                                             1 380,00 EUR",
    "Total TTC                                            8 280,00 EUR",
)
_INVOICE = File(
    "facture-F-2026-1187.pdf",
    "application/pdf",
    text_pdf(_INVOICE_TITLE, _INVOICE_LINES),
)
# The text that the framework's own PDF importer returns.
_INVOICE_TEXT = (
    f"[File: {_INVOICE.filename}]\n\n"
    "(Note: only text was extracted; images are shown as [IMAGE] placeholders with alt text "
    "when available. Charts and visual formatting are not included.)\n\n"
    f"# **{_INVOICE_TITLE}**\n\n```\n" + "\n".join(_INVOICE_LINES) + "\n```\n"
)

_INVOICE_CHECK = Thread(
    "Does the invoice match the order?",
    _DM_AMELIE,
    (
        Turn(
            _AMELIE,
            "Peux-tu vérifier cette facture par rapport au bon de commande ?",
            (
                "Je compare la facture F-2026-1187 avec le bon de commande PO-10447.",
                failed(
                    "get_purchase_order",
                    {
                        "id": "PO-10447",
                        "include": ["lines", "approvals", "bank_details"],
                    },
                    error=ERROR_PERMISSION_DENIED,
                    message="bank_details needs the role finance-approver.",
                    recovery=RECOVERY_CONTACT_ADMIN,
                ),
                "Les coordonnées bancaires me sont interdites ; les lignes suffisent.",
                answered(
                    "get_purchase_order",
                    {"id": "PO-10447", "include": ["lines"]},
                    {
                        "id": "PO-10447",
                        "supplier": "Société Électrique du Rhône",
                        "lines": [
                            {
                                "item": "Onduleur 3 kVA R3",
                                "quantity": 4,
                                "unit_price": 1190.0,
                            },
                            {
                                "item": "Batterie R3-B",
                                "quantity": 8,
                                "unit_price": 129.0,
                            },
                            {
                                "item": "Installation",
                                "quantity": 1,
                                "unit_price": 980.0,
                            },
                        ],
                        "currency": "EUR",
                    },
                ),
                "Un écart : la batterie R3-B est facturée **145,00 €** au lieu de **129,00 €** "
                "(8 pièces, soit **128,00 € HT** de trop). Le reste correspond. "
                "Je te conseille de demander un avoir avant de payer.",
            ),
            Usage(38, 389, 2_963, 6_118, 3_702),
            (Upload(_INVOICE, _INVOICE_TEXT),),
        ),
        Turn(
            _AMELIE,
            "Rédige-moi le mail au fournisseur, s'il te plaît.",
            (
                "*Objet : facture F-2026-1187, demande d'avoir*\n\n"
                "Bonjour,\n\nSur la facture citée, la batterie R3-B est comptée à 145,00 € ; "
                "notre bon de commande PO-10447 prévoit 129,00 €. Merci de nous adresser un "
                "avoir de 128,00 € HT (153,60 € TTC).\n\nBien cordialement,\nAmélie Durand",
            ),
            Usage(18, 187, 421, 3_702, 4_141),
        ),
    ),
)

# --- 4. Three calls at once, one of which fails ---------------------------------------------------


def _status(region: str, version: str, healthy: int, state: str) -> dict[str, object]:
    return {
        "region": region,
        "version": version,
        "healthy": f"{healthy}/6",
        "state": state,
    }


_DEPLOYMENT = Thread(
    "Is checkout 4.18 out everywhere?",
    _HELPDESK,
    (
        Turn(
            _LUKASZ,
            "Is checkout 4.18.2 out in all regions? Support wants to tell customers.",
            (
                "I'll ask all three regions at once.",
                answered(
                    "deployment_status",
                    {"service": "checkout", "region": "eu-central-1"},
                    _status("eu-central-1", "4.18.2", 6, "complete"),
                ),
                failed(
                    "deployment_status",
                    {"service": "checkout", "region": "us-east-1"},
                    error=ERROR_SYSTEM_ERROR,
                    message="503 from the deployment API in us-east-1: upstream timed out.",
                    recovery=RECOVERY_RETRY,
                ),
                answered(
                    "deployment_status",
                    {"service": "checkout", "region": "ap-northeast-1"},
                    _status("ap-northeast-1", "4.18.2", 4, "rolling out"),
                ),
                "Not yet:\n"
                "- ✅ eu-central-1: complete (6 of 6)\n"
                "- ⏳ ap-northeast-1: rolling out (4 of 6)\n"
                "- ❓ us-east-1: the deployment API does not answer\n\n"
                "I would wait with the announcement.",
            ),
            Usage(28, 342, 1_920, 3_410, 2_688),
        ),
        Turn(
            _LUKASZ,
            "And now?",
            (
                answered(
                    "deployment_status",
                    {"service": "checkout", "region": "us-east-1"},
                    _status("us-east-1", "4.18.2", 6, "complete"),
                ),
                answered(
                    "deployment_status",
                    {"service": "checkout", "region": "ap-northeast-1"},
                    _status("ap-northeast-1", "4.18.2", 6, "complete"),
                ),
                "Yes: 4.18.2 is complete in all three regions. Support can go ahead 👍",
            ),
            Usage(22, 158, 590, 5_376, 3_301),
        ),
    ),
)

# --- 5. A question in Japanese --------------------------------------------------------------------

_NEW_CONTRACTS = Thread(
    "New contracts in Japan",
    _SALES,
    (
        Turn(
            _KENJI,
            "先週の日本の新規契約は何件でしたか?前の週と比べてください。",
            (
                answered(
                    "run_sales_query",
                    {
                        "sql": "SELECT iso_week, count(*), sum(annual_value_jpy) FROM contracts "
                        "WHERE country = '日本' AND kind = 'new' AND iso_week IN (45, 46) "
                        "GROUP BY 1 ORDER BY 1",
                        "limit": 10,
                    },
                    {
                        "columns": ["iso_week", "count", "annual_value_jpy"],
                        "rows": [[45, 31, 48_200_000], [46, 37, 61_750_000]],
                        "row_count": 2,
                        "took_ms": 96,
                    },
                ),
                "先週(第46週)の新規契約は **37件**、年間契約額は **6,175万円** です。"
                "前の週の31件から **6件増** (+19 %) でした。📈",
            ),
            Usage(21, 214, 1_866, 1_790, 2_034),
        ),
    ),
)

# --- 6. A question that needs no tool -------------------------------------------------------------

_ACCESS = Thread(
    "Access to the staging database",
    _HELPDESK,
    (
        Turn(
            _PRIYA,
            "How do I get read access to the staging database?",
            (
                "Three steps:\n"
                "1. Request the role `staging-reader` in the access portal.\n"
                "2. Your manager approves it, usually the same day.\n"
                "3. Run `aws-vault exec staging -- psql-staging`.\n\n"
                "The role lapses after 30 days.",
            ),
            Usage(12, 96, 1_702, 0, 1_714),
        ),
    ),
)

THREADS: Final = (
    _REVENUE_DIP,
    _VPN,
    _INVOICE_CHECK,
    _DEPLOYMENT,
    _NEW_CONTRACTS,
    _ACCESS,
)
