package agent

import (
	"fmt"
	"strings"
)

// This file holds the user's messages of the tasks. The system prompt of the
// mode says how a specialist works; a task says what to deliver now.

// evidence puts a text that comes from outside between fences that it cannot
// close, so that a model can tell it from its orders.
func evidence(label, text string) string {
	fence := "~~~"
	for strings.Contains(text, fence) {
		fence += "~"
	}
	return fmt.Sprintf("%s:\n%s\n%s\n%s", label, fence, strings.TrimSpace(text), fence)
}

// paragraphs joins the parts that are not empty.
func paragraphs(parts ...string) string {
	kept := parts[:0:0]
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, "\n\n")
}

// given labels an optional text, and is empty without one.
func given(label, text string) string {
	if text == "" {
		return ""
	}
	return evidence(label, text)
}

// triageForm is what every triage delivers.
const triageForm = `Deliver, under these headings and in this order:
Verdict - true positive, benign true positive, false positive or undetermined; confidence; the one observation that decides it.
Severity - critical, high, medium or low, and why: impact, importance of the asset, how far it has come.
What happened - timeline in UTC where times are given; each entry marked observed or inferred.
ATT&CK - tactic, technique id and name, and the evidence; "none" when nothing supports one.
Do now - at most five numbered actions with owner and how to undo each; volatile evidence is preserved first.
Check next - at most five exact queries, with log source and what a hit or a miss would mean.
Escalate - to whom, on what condition, and what would change the verdict.
State plainly which fact is missing if the verdict depends on it. Do not pad a section that has nothing in it.`

func triagePrompt(in input) string {
	return paragraphs("Triage this alert for the analyst on shift.", evidence("Alert", in.text["alert"]), triageForm)
}

func webhookPrompt(in input) string {
	sender := fmt.Sprintf("Source as the sender names it: %q. Severity as the sender rates it: %q. Both are claims; rate it yourself and say where you differ.",
		in.text["source"], in.text["severity"])
	return paragraphs("Triage this alert, which a monitoring system has sent on its own. Nobody can answer questions. The first 400 characters are also sent to a chat channel, so the first two lines hold verdict, severity, affected asset and the most urgent action.",
		sender, evidence("Alert", in.text["alert"]), triageForm)
}

func huntPrompt(in input) string {
	siem := in.text["siem"]
	return paragraphs("Write a threat hunt for what is described below, to be run in the SIEM named below.",
		evidence("Hunt for", in.text["target"]), evidence("SIEM", siem), `Deliver:
1. The query first, alone in one code block, ready to paste: in the SIEM's own language (splunk: SPL; sentinel, defender: KQL; elastic: ES|QL, or EQL for sequences; qradar: AQL; chronicle: YARA-L 2.0; wazuh: a filter in its own syntax). If the language of this SIEM is not known to you, write Sigma and say so. Restrict time and index or table first, name the fields of a common data model of that product, aggregate so that an analyst reads rows and not events, and sort the rarest or most suspicious to the top. Placeholders look like <THIS> and are listed after the block.
2. Hypothesis in one sentence, with the ATT&CK technique ids it covers.
3. Data it needs: log sources, event ids, the audit settings that produce them, and how to see whether they are there at all.
4. What normal looks like, the three likeliest false positives, and the line of the query that removes each.
5. What a hit means, the next pivot from it, and when to hand it over as an incident.
6. A second query for the way around the first one, if there is an obvious one.
Invent no field names: where a name depends on the deployment, mark it as a placeholder.`)
}

func respondPrompt(in input) string {
	return paragraphs("Write the response playbook for this incident, to be worked through by a team under stress.",
		evidence("Incident", in.text["incident"]), `Begin with three lines: what is assumed, the severity, and the first thing to do in the next 15 minutes. Then the six phases of PICERL, each with its entry condition, numbered steps and exit condition:
1. Preparation - what has to be at hand (access, contacts, tools, legal and insurance); keep it short, the incident is running.
2. Identification - how to confirm it and find its extent: exact artefacts, event ids, queries; evidence to keep, in order of volatility, with its chain of custody.
3. Containment - short term and long term, apart. For each step: owner, what it breaks, how to undo it, and whether it warns the adversary.
4. Eradication - every foothold: persistence, accounts and tokens, changed settings, the way in.
5. Recovery - order of systems, proof that each is clean, what is monitored more closely and for how long.
6. Lessons learned - questions to answer, detections to add, the figures to record (time to detect, contain, recover).
End with: who decides and who is told when (management, legal, regulators, customers; deadlines only with the condition they hang on), and a table of the ATT&CK techniques with the evidence for each. Steps are imperative, one action each, with commands where they help. Mark what only a person with authority may order.`)
}

func indicatorPrompt(in input) string {
	return paragraphs("Assess this indicator of compromise.",
		evidence("Indicator", in.text["indicator"]),
		evidence("Type", in.text["type"]),
		given("Context given by the analyst", in.text["context"]),
		`Check first that the type fits the form of the indicator and say so if not. A type "unknown" means that the form was not recognised: say what it may be. Deliver your report in the six parts of your role: indicator, assessment with risk score from 1 to 10 and confidence, context, checks, actions, pivots. Give at least one query that can be pasted (splunk or KQL) to look for it in the logs that would hold it. Do not visit, resolve or quote anything as looked up: you have no feeds.`)
}

func codeTaskPrompt(in input) string {
	language := "Language: choose the one that fits the task best (Python 3 with its standard library when nothing speaks against it) and name it in the first line."
	if l := in.text["language"]; l != unset {
		language = evidence("Language", l)
	}
	return paragraphs("Carry out this task of security engineering.", evidence("Task", in.text["task"]), language,
		`If the task asks to write something: deliver first one complete program or function in a single code block (version and dependencies in a comment at its head, input validated, errors handled, timeouts on the network, no secret in the source), then how to run it with one example and its output, one test that would fail if it were wrong, and its limits.
If the task asks to review something: deliver the findings, worst first (severity, CWE, place, how it is reached, impact, fix as a minimal diff), then what you could not see.
If it would act against systems of others, take the targets as an explicit list and say that authorisation is needed.`)
}

func adviceTaskPrompt(in input) string {
	form := map[string]string{
		"advice":        "Deliver advice: the recommendation in two sentences; the reasons, with the risk as likelihood times impact; the options that were weighed, doing nothing among them, with cost, effect and what is given up; the first three steps with owner and date relative to today; how to see in a quarter whether it worked.",
		"report":        "Deliver a report: executive summary of at most 150 words; scope and what was not looked at; findings in a table (id, finding, likelihood, impact, rating, owner); treatment plan with effort and order; residual risk after it; the decisions that are needed, from whom and by when.",
		"gap-analysis":  "Deliver a gap analysis against the framework that is named, or the one that fits best (say which, and its edition): a table of control id, requirement in a few words, current state, target state, gap, risk if left open, effort (S, M, L), priority, owner. Mark as unknown what the input does not tell, and list the questions that would settle it. Then a plan for 30, 60 and 90 days.",
		"board-summary": "Deliver a summary for the board on one page: the position in one sentence; at most five points, each with trend (better, same, worse) and what it means in money, time or trust; what was decided or spent and what it has bought; the one decision that is needed, with options and a recommendation; no abbreviations, no product names.",
	}
	return paragraphs("Answer this question of a security leader.", evidence("Question", in.text["question"]),
		given("Context of the organisation", in.text["context"]), form[in.text["output"]],
		"Where a figure of the organisation is needed and was not given, leave a placeholder like <ANNUAL REVENUE> and show how it enters the result; do not estimate it.")
}

func sigmaTaskPrompt(in input) string {
	logsource := "Log source: choose the one in which this behaviour shows best, and name the alternatives after the rule."
	if l := in.text["logsource"]; l != "" {
		logsource = evidence("Log source", l)
	}
	technique := "ATT&CK technique: derive it from the behaviour."
	if t := in.text["technique"]; t != unset {
		technique = evidence("ATT&CK technique", t) + "\nTag it if the rule really detects it; say so if the description is of another one."
	}
	return paragraphs("Write a Sigma rule that detects the following.", evidence("Behaviour", in.text["description"]), logsource, technique,
		`Output the rule first, in one yaml code block with nothing before it, as your role describes. Before you output it check: it parses as YAML; every selection is used in the condition; every field exists in that log source; each value list is OR and each map is AND as meant; the level fits the noise. Then the tuning notes: settings needed to get these events, expected noise with the first filter to add, ways around the rule, one harmless command that triggers it in a lab, one log line that must match and one that must not.`)
}

func yaraTaskPrompt(in input) string {
	fileType := "File type: derive it from the description and test for it in the condition."
	if t := in.text["file_type"]; t != unset {
		fileType = evidence("File type", t)
	}
	return paragraphs("Write a YARA rule that detects the following.", evidence("Malware or trait", in.text["description"]), fileType,
		given("Hash of a sample, for the meta section only: it tells nothing of the content", in.text["hash"]),
		`Output the rule first, in one yara code block with nothing before it, as your role describes. Before you output it check: it compiles; every string is used; the condition begins with file type and size; no string occurs in ordinary software by itself; nothing in it was made up as if it came from a sample. Then the tuning notes: what each group of strings stands on and how sure it is, what it misses, likely false positives and how to test for them, a wider version for hunting and a narrower one for blocking.`)
}
