package main

import (
	"regexp"
	"strings"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/prometheus/util/strutil"
)

// usageTemplate is kingpin's, with the options of a command before those of all commands.
const usageTemplate = `{{define "FormatCommand" -}}
{{if .FlagSummary}} {{.FlagSummary}}{{end -}}
{{range .Args}}{{if not .Hidden}} {{if not .Required}}[{{end}}{{if .PlaceHolder}}{{.PlaceHolder}}{{else}}<{{.Name}}>{{end}}{{if .Value|IsCumulative}}...{{end}}{{if not .Required}}]{{end}}{{end}}{{end -}}
{{end -}}

{{define "FormatCommands" -}}
{{range .FlattenedCommands -}}
{{if not .Hidden -}}
  {{.FullCommand}}{{if .Default}}*{{end}}{{template "FormatCommand" .}}
{{.Help|Wrap 4}}
{{end -}}
{{end -}}
{{end -}}

{{define "FormatUsage" -}}
{{template "FormatCommand" .}}{{if .Commands}} <command> [<args> ...]{{end}}
{{if .Help}}
{{.Help|Wrap 0 -}}
{{end -}}

{{end -}}

{{if .Context.SelectedCommand -}}
usage: {{.App.Name}} {{.Context.SelectedCommand}}{{template "FormatUsage" .Context.SelectedCommand}}
{{if .Context.SelectedCommand.Args -}}
Args:
{{.Context.SelectedCommand.Args|ArgsToTwoColumns|FormatTwoColumns}}
{{end -}}
{{if .Context.SelectedCommand.Flags -}}
Options:
{{.Context.SelectedCommand.Flags|FlagsToTwoColumns|FormatTwoColumns}}
{{end -}}
{{if len .Context.SelectedCommand.Commands -}}
Subcommands:
{{template "FormatCommands" .Context.SelectedCommand}}
{{end -}}
Options of all commands:
{{.App.Flags|FlagsToTwoColumns|FormatTwoColumns}}
{{else -}}
usage: {{.App.Name}}{{template "FormatUsage" .App}}
Flags:
{{.App.Flags|FlagsToTwoColumns|FormatTwoColumns}}
{{if .App.Commands -}}
Commands:
{{template "FormatCommands" .App}}
{{end -}}
{{end -}}
`

// similarity is how near a name has to be to be suggested, from 0 to 1.
const similarity = 0.8

// wrongWord finds what the command line parser did not understand.
var wrongWord = regexp.MustCompile(`^(?:unknown long flag '--(?P<flag>[^'=]+).*'|expected command but got "(?P<word>.*)"|unexpected (?:argument ')?(?P<word2>[^']+)'?|.*enum value must be one of (?P<values>\S*), got '(?P<value>.*)')$`)

// suggestion returns the name that an error of the command line may be about, as the end of a sentence; empty without any.
func suggestion(err error, args []string, app *kingpin.ApplicationModel) string {
	m := wrongWord.FindStringSubmatch(err.Error())
	if m == nil {
		return ""
	}
	group := func(name string) string { return m[wrongWord.SubexpIndex(name)] }
	switch {
	case group("flag") != "":
		return nearest(strings.TrimPrefix(group("flag"), "no-"), "--", flagNames(app, args))
	case group("values") != "":
		return nearest(group("value"), "", strings.Split(group("values"), ","))
	default:
		return nearest(group("word")+group("word2"), "", commandNames(app.CmdGroupModel))
	}
}

// nearest returns the candidate that is most like a word.
func nearest(word, prefix string, candidates []string) string {
	matcher, best, found := strutil.NewJaroWinklerMatcher(strings.ToLower(word)), similarity, ""
	for _, c := range candidates {
		if score := matcher.Score(strings.ToLower(c)); score > best {
			best, found = score, c
		}
	}
	if found == "" {
		return ""
	}
	return ": did you mean " + prefix + found + "?"
}

// flagNames are those of all commands, and of the commands in args.
func flagNames(app *kingpin.ApplicationModel, args []string) (names []string) {
	add := func(flags *kingpin.FlagGroupModel) {
		for _, f := range flags.Flags {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		}
	}
	add(app.FlagGroupModel)
	commands := app.CmdGroupModel
	for _, arg := range args {
		for _, c := range commands.Commands {
			if c.Name == arg {
				add(c.FlagGroupModel)
				commands = c.CmdGroupModel
				break
			}
		}
	}
	return names
}

// commandNames are the words that begin a command or go on with one.
func commandNames(commands *kingpin.CmdGroupModel) (names []string) {
	for _, c := range commands.Commands {
		names = append(append(names, c.Name), commandNames(c.CmdGroupModel)...)
	}
	return names
}
