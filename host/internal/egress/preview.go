package egress

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/netguard"
)

// Preview is what would leave, and what would be said about it: the shape of a row, and the payload. Making one sends nothing,
// resolves nothing, counts nothing and stores nothing; so whether the name leads to a public address is not known, and says so.
type Preview struct {
	ID       string    `json:"preview_id"` // names this destination and payload: another payload has another one
	Decision string    `json:"decision"`   // allow or deny
	Reason   string    `json:"reason"`
	Message  string    `json:"message,omitempty"`
	Hint     string    `json:"hint,omitempty"`
	Row      Row       `json:"row"`
	Resolved string    `json:"resolved"` // "not asked", "pinned" or "address"
	Headers  []Header  `json:"headers"`
	Payload  Payload   `json:"payload"`
	CostFrom string    `json:"cost_from,omitempty"` // the scope whose price the estimate is made of
	Needs    []string  `json:"leases_needed,omitempty"`
	Expires  time.Time `json:"expires_at"`
}

// Header is one header as it would be sent, redacted.
type Header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Payload describes a body.
type Payload struct {
	Bytes      int64  `json:"bytes"`
	Digest     string `json:"sha256,omitempty"`
	Type       string `json:"type,omitempty"`
	Sample     string `json:"sample,omitempty"` // the beginning, redacted; of bytes that are no text, nothing
	Redactions bool   `json:"redacted"`
}

// sampleSize is how much of a body a preview shows.
const sampleSize = 2 << 10

// Preview tells what Open would do.
func (g *Guard) Preview(ctx context.Context, who Caller, authority Authority, req Request) Preview {
	h := hop{kind: "http", caller: who, authority: authority, method: req.Method, header: req.Header, announced: int64(len(req.Body))}
	if h.method == "" {
		h.method = http.MethodGet
	}
	if len(req.Body) > 0 {
		h.payload = digest(req.Body)
	}
	p := Preview{Decision: "allow", Reason: whyOK, Resolved: "not asked", Expires: time.Now().UTC().Add(15 * time.Minute).Truncate(time.Second)}
	dest, err := netguard.Parse(req.URL)
	h.dest = dest
	p.Row = h.newRow(g.rules.Load().posture)
	if err == nil && (dest.Scheme == "ws" || dest.Scheme == "wss") {
		h.kind = "websocket"
	}
	if err != nil {
		err = refusal("", err)
	} else {
		err = g.foresee(ctx, &h, &p)
	}
	p.Row.Decision = p.Decision
	if err != nil {
		p.Decision, p.Reason, p.Message, p.Hint = "deny", reasonOf(err), g.redact(err.Error()), abi.HintOf(err)
		p.Row.Decision, p.Row.Reason = "deny", p.Reason
		if p.Reason == whyLease || strings.HasPrefix(p.Reason, "lease_") || p.Reason == abi.BudgetExhausted.String() {
			p.Needs = []string{h.target()}
		}
	}
	p.Row.Path = g.redact(p.Row.Path)
	p.payload(g, req)
	p.ID = "pre_" + digest([]byte(h.target() + "\n" + dest.Query + "\n" + h.payload + "\n" + who.pool()))[7:31]
	return p
}

func (g *Guard) foresee(ctx context.Context, h *hop, p *Preview) error {
	j, err := g.judge(ctx, h, true)
	p.Row = j.row
	p.CostFrom = j.row.Rule
	if j.price == (Price{}) {
		p.CostFrom = ""
	}
	if err != nil {
		return err
	}
	if h.dest.IP.IsValid() {
		p.Resolved, p.Row.Address = "address", h.dest.IP.String()
		return nil
	}
	found, ok := g.names.pinned(h.dest.Host)
	if !ok {
		return nil
	}
	p.Resolved = "pinned"
	p.Row.Address = found[0].String()
	return g.checkAddresses(h.dest, found)
}

// payload describes what would be sent, redacted.
func (p *Preview) payload(g *Guard, req Request) {
	p.Headers = []Header{}
	for name, values := range req.Header {
		for _, v := range values {
			if netguard.Credential(name) {
				v = "***"
			}
			p.Headers = append(p.Headers, Header{name, g.redact(v)})
		}
	}
	slices.SortFunc(p.Headers, func(a, b Header) int { return strings.Compare(a.Name, b.Name) })
	p.Payload = Payload{Bytes: int64(len(req.Body)), Type: req.Header.Get("Content-Type")}
	if len(req.Body) == 0 {
		return
	}
	p.Payload.Digest = digest(req.Body)
	if !utf8.Valid(req.Body) {
		return
	}
	// Redacted as a whole and cut then: a secret that the cut splits would be found by no rule.
	clean := g.redact(string(req.Body))
	p.Payload.Redactions = clean != string(req.Body)
	p.Payload.Sample = strings.ToValidUTF8(clean[:min(len(clean), sampleSize)], "")
}
