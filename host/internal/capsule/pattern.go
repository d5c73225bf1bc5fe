package capsule

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
)

// The families of patterns, each with what it is matched against.
const (
	Action = "action"     // a tool or other action: "research.search" and "arw/research:research.search"
	Use    = "capability" // a host function: "fs", and "fs:write:/etc/passwd" with what it is used on
	HTTP   = "http"       // a destination: "api.example.com" and "api.example.com:443"
)

// Preset is a ready set of denies.
type Preset = api.CapsulePreset

// Presets are those that come with the program.
func Presets() []Preset {
	return []Preset{{
		ID: "capsule.strict-egress", Means: "nothing leaves this host: no request of a pack, of a program behind the proxy or of the host's own clients",
		Denies: []string{"capability:http", "http:*"}, HopTTL: 4, LeaseMS: 600_000, RenewWithinMS: 240_000,
	}}
}

// checkPattern wants FAMILY:GLOB, where * in the glob stands for any text.
func checkPattern(p string) error {
	family, glob, ok := strings.Cut(p, ":")
	if !ok || family != Action && family != Use && family != HTTP {
		return fmt.Errorf("the pattern %.80q begins with none of action:, capability: and http:", p)
	}
	if glob == "" || len(p) > 512 || strings.Count(glob, "*") > 8 {
		return fmt.Errorf("the pattern %.80q has no text, more than 512 bytes or more than 8 stars", p)
	}
	for _, r := range glob {
		if r < 0x21 || r > 0x7e {
			return fmt.Errorf("the pattern %.80q has a character that is no printable ASCII", p)
		}
	}
	if family == HTTP && glob != strings.ToLower(glob) {
		return fmt.Errorf("the pattern %.80q: host names are in lower case", p)
	}
	if family == Use {
		name, _, _ := strings.Cut(glob, ":")
		if !strings.Contains(name, "*") && !slices.ContainsFunc(abi.Functions, func(f abi.Func) bool { return string(f.Capability) == name }) {
			return fmt.Errorf("the pattern %.80q: there is no capability %.40q", p, name)
		}
	}
	return nil
}

// match reports whether a glob covers a whole text; * stands for any text, also none.
func match(glob, text string) bool {
	head, rest, star := strings.Cut(glob, "*")
	if !strings.HasPrefix(text, head) {
		return false
	}
	if text = text[len(head):]; !star {
		return text == ""
	}
	for {
		var part string
		if part, rest, star = strings.Cut(rest, "*"); !star {
			return strings.HasSuffix(text, part)
		}
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
}

// rail is one capsule as it is enforced.
type rail struct {
	id, issuer string
	until      time.Time
	denies     map[string][]string // globs by family
}

// newRail compiles what a book holds.
func newRail(c *Capsule) rail {
	r := rail{id: c.ID, issuer: c.Issuer, until: c.LeaseUntil, denies: map[string][]string{}}
	for _, d := range c.Denies {
		family, glob, _ := strings.Cut(d, ":")
		r.denies[family] = append(r.denies[family], glob)
	}
	return r
}

// Denial is the detail of a refusal.
type Denial struct {
	Capsule string    `json:"capsule"`
	Issuer  string    `json:"issuer"`
	Pattern string    `json:"pattern"`
	Until   time.Time `json:"until"`
}

// refuse is the error of the first capsule in force that covers one of the names; the first name is what errors call it.
func (b *Book) refuse(family string, names ...string) error {
	rails := b.rails.Load()
	if rails == nil || len(*rails) == 0 {
		return nil
	}
	now := b.now()
	for _, r := range *rails {
		for _, glob := range r.denies[family] {
			for _, name := range names {
				if match(glob, name) && now.Before(r.until) {
					return abi.Errorf(abi.Denied, "use %s %q: the policy capsule %q of %q denies %q", family, names[0], r.id, r.issuer, family+":"+glob).
						WithHint("it holds until %s; the operator can end it: arw capsule teardown %s", r.until.Format(time.RFC3339), r.id).
						WithDetail(Denial{r.id, r.issuer, family + ":" + glob, r.until})
				}
			}
		}
	}
	return nil
}

// Action refuses an action that a capsule denies, by the tool's id and by its pack's name before it. Denied.
func (b *Book) Action(pack, tool string) error {
	if pack == "" {
		return b.refuse(Action, tool)
	}
	return b.refuse(Action, pack+":"+tool, tool)
}

// Use refuses a host call that a capsule denies; one on http also by its destination. Denied.
func (b *Book) Use(c abi.Capability, target string) error {
	if b.rails.Load() == nil {
		return nil
	}
	if err := b.refuse(Use, string(c), string(c)+":"+target); err != nil || c != abi.HTTP {
		return err
	}
	return b.Egress(target)
}

// Egress refuses a destination that a capsule denies: "METHOD scheme://host:port/path", or a bare host name. Denied.
func (b *Book) Egress(target string) error {
	rails := b.rails.Load()
	if rails == nil || len(*rails) == 0 {
		return nil
	}
	host, withPort := hostOf(target)
	return b.refuse(HTTP, host, withPort)
}

func hostOf(target string) (host, withPort string) {
	if _, after, ok := strings.Cut(target, " "); ok {
		target = after
	}
	u, err := url.Parse(target)
	if err != nil || u.Host == "" {
		return target, target
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		if port = strconv.Itoa(443); u.Scheme == "http" || u.Scheme == "ws" {
			port = strconv.Itoa(80)
		}
	}
	return host, host + ":" + port
}
