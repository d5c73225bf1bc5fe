package main

import (
	"strings"
	"time"
)

// dev prints an event of a developer session for a person.
func (u ui) dev(e devEvent) {
	at := u.dim(e.Time.Local().Format("15:04:05"))
	switch e.Event {
	case "ready":
		u.say("%s for %s on %s", u.bold("Developer host"), u.bold(e.Pack), e.Address)
		u.wrapped("  ", "It trusts a key made for this session, for this pack alone. Ctrl-C ends it.")
		u.say("  %s", u.dim("In another terminal: export ARW_STATE_DIR="+e.State))
	case "changed":
		u.say("%s changed %s", at, u.fit(strings.Join(e.Files, " "), 60))
	case "same":
		u.say("%s %s  %s", at, u.green("the same build is served"), u.dim(e.times()))
	case "served":
		u.say("%s %s %s %s", at, u.green("serving"), e.Version, u.dim(shortDigest(e.Digest)))
		u.wrapped("         ", u.dim(e.times()))
		for _, c := range e.Changes {
			if c.Wider {
				u.wrapped("         ", u.yellow("+ "+c.What))
			} else {
				u.wrapped("         ", "· "+c.What)
			}
		}
		for _, cmd := range e.Pending {
			u.say("         %s", u.yellow("not granted; you may:"))
			u.say("           %s", cmd)
		}
	case "failed":
		u.devFailed(at, e)
	case "ended":
		u.say("%s ended; the session's key is gone and nothing trusts it", at)
	}
}

func (u ui) devFailed(at string, e devEvent) {
	still := "nothing is served yet"
	if e.Digest != "" {
		still = "still serving " + shortDigest(e.Digest)
	}
	u.say("%s %s: %s", at, u.red(e.Step+" failed"), u.dim(still))
	if e.Tests != nil && e.Step == "test" {
		u.tested(e.Tests, false)
		return
	}
	for line := range strings.SplitSeq(e.Error, "\n") {
		u.long("         ", line)
	}
	if e.Next != "" && e.Step != "build" {
		first, rest, _ := strings.Cut(e.Next, "\n")
		u.wrapped("         ", u.dim("next:")+" "+first)
		for line := range strings.Lines(rest) {
			u.say("           %s", strings.TrimSuffix(line, "\n"))
		}
	}
}

// long prints a line of another tool: as it is when it fits, else wrapped.
func (u ui) long(indent, line string) {
	if len(indent)+len(line) <= 80 {
		u.say("%s%s", indent, line)
		return
	}
	u.wrapped(indent, line)
}

// times tells the steps that took any time: "build 812ms · test 30ms · all 1.02s".
func (e devEvent) times() string {
	var parts []string
	for _, name := range e.took {
		parts = append(parts, name+" "+e.Took[name])
	}
	if e.Tests != nil {
		passed := plural(e.Tests.Passed, "case") + " passed"
		if e.Tests.Interpreted {
			passed += " on the interpreter"
		}
		parts = append(parts, passed)
	}
	return strings.Join(parts, " · ")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return thousands(uint64(n)) + " " + what + "s"
}

// fit cuts a text that would break a line.
func (u ui) fit(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s
}

// short3 is a duration with three digits: 812ms, 1.02s.
func short3(d time.Duration) string {
	if d >= time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Millisecond).String()
}
