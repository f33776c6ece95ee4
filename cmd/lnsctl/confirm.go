package main

import (
	"bufio"
	"fmt"
	"strings"
)

// confirm asks whether to do what the question says. Where nobody can
// answer, it says which flag stands for the answer.
func (a *app) confirm(question string) error {
	if !a.terminal {
		return &failure{code: exitUsage, text: question, hint: "Nobody is there to answer: repeat with --yes to do it."}
	}
	fmt.Fprintf(a.errOut, "%s [y/N] ", clean(question))
	answer, _ := bufio.NewReader(a.in).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return &failure{code: exitFailed, text: "not done"}
}
