package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

type completeCommand struct{}

// Help explains.
func (completeCommand) Help() string {
	return `Completes commands and flags. For this shell, and for all to come:
  source <(lnsctl completion)
  lnsctl completion > /etc/bash_completion.d/lnsctl`
}

// script completes with the words that the table has for the commands typed so far.
const script = `_lnsctl() {
  local cur="${COMP_WORDS[COMP_CWORD]}" path="" word
  local -A words=(
%s  )
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ -n "${words["$path $word"]+x}" ]] && path="$path $word"
  done
  COMPREPLY=($(compgen -W "${words["${path:- }"]}" -- "$cur"))
}
complete -o default -F _lnsctl lnsctl
`

// Run prints the script, made from the grammar.
func (completeCommand) Run(a *app) error {
	var b strings.Builder
	completions(&b, a.parser.Model.Node, "")
	_, err := fmt.Fprintf(a.out, script, b.String())
	return err
}

// completions has a line for a command: its subcommands, its flags and those of its parents.
func completions(b *strings.Builder, n *kong.Node, path string) {
	var words []string
	for _, c := range n.Children {
		words = append(words, c.Name)
	}
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			words = append(words, "--"+f.Name)
		}
	}
	key := path
	if key == "" {
		key = " "
	}
	fmt.Fprintf(b, "    [\"%s\"]=\"%s\"\n", key, strings.Join(words, " "))
	for _, c := range n.Children {
		completions(b, c, path+" "+c.Name)
	}
}
