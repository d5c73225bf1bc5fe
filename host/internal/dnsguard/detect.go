package dnsguard

import (
	"math"
	"strings"
	"sync"
	"time"

	"github.com/arw-project/arw/host/internal/netguard"
)

// Reason says in one word what is odd about names.
type Reason string

// The reasons.
const (
	QPS       Reason = "qps_spike"     // far more questions in a second than a program needs
	Entropy   Reason = "entropy_burst" // labels that look like data: something may be carried out in names
	Long      Reason = "long_label"
	Fanout    Reason = "fanout" // very many different names under one registrable domain
	Missing   Reason = "nxdomain_burst"
	Rebinding Reason = "rebinding" // a name that led to a public place leads inside
	Inside    Reason = "inside"    // a name that leads inside, from the beginning
	DoH       Reason = "blocked_doh"
	Denied    Reason = "blocked" // not on the list
)

// Anomaly is the body of dns.anomaly.
type Anomaly struct {
	Time     time.Time `json:"time"`
	Reason   Reason    `json:"reason"`
	Severity string    `json:"severity"` // info, warn or error
	Who      string    `json:"who,omitempty"`
	Domain   string    `json:"domain,omitempty"`
	Samples  []string  `json:"samples"`
	QPS      float64   `json:"qps,omitempty"`
}

// Thresholds are when something is odd; 0 is the default that stands behind each.
type Thresholds struct {
	QPS     int           // questions of one asker within a second: 50
	Label   int           // bytes of a label: 52
	Entropy float64       // bits a character, of labels of 24 and more: 3.8
	Labels  int           // such labels under one domain within the window: 3
	Fanout  int           // names under one domain within the window: 64
	Missing int           // names of one asker that do not exist within the window: 20
	Window  time.Duration // 10 s
	Silence time.Duration // the same oddity of the same asker and domain is told once in: 1 min
}

func (t Thresholds) filled() Thresholds {
	or := func(n *int, d int) {
		if *n <= 0 {
			*n = d
		}
	}
	or(&t.QPS, 50)
	or(&t.Label, 52)
	or(&t.Labels, 3)
	or(&t.Fanout, 64)
	or(&t.Missing, 20)
	if t.Entropy <= 0 {
		t.Entropy = 3.8
	}
	if t.Window <= 0 {
		t.Window = 10 * time.Second
	}
	if t.Silence <= 0 {
		t.Silence = time.Minute
	}
	return t
}

// Detector watches questions and answers for what is odd. It decides nothing: content networks make names that look like
// data, so what it tells is for people, and only a name outside every scope is refused for it. It is safe for concurrent use; its
// memory is bounded.
type Detector struct {
	th Thresholds

	mu     sync.Mutex // guards the rest
	asked  map[string]*window
	shapes map[string]*window // by domain: labels that look like data
	kin    map[string]*family
	gone   map[string]*window
	public map[string]time.Time
	told   map[string]time.Time
}

// maxKept bounds each of the detector's memories; a full one starts anew.
const maxKept = 4096

// NewDetector makes a detector.
func NewDetector(th Thresholds) *Detector {
	return &Detector{th: th.filled(), asked: map[string]*window{}, shapes: map[string]*window{}, kin: map[string]*family{},
		gone: map[string]*window{}, public: map[string]time.Time{}, told: map[string]time.Time{}}
}

// window counts within a span of time.
type window struct {
	start time.Time
	n     int
}

func (w *window) add(now time.Time, span time.Duration) int {
	if now.Sub(w.start) >= span {
		w.start, w.n = now, 0
	}
	w.n++
	return w.n
}

// family is the different names under one domain.
type family struct {
	start time.Time
	names map[string]bool
}

func slot[T any](m map[string]*T, key string) *T {
	v, ok := m[key]
	if !ok {
		if len(m) >= maxKept {
			clear(m)
		}
		v = new(T)
		m[key] = v
	}
	return v
}

// Question notes that somebody asks for a name (lower case, without the last dot). odd is what is odd about it now, empty when
// nothing is; told are those that were not told a moment ago.
func (d *Detector) Question(now time.Time, who, name string) (odd Reason, told []Anomaly) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Anomaly
	found := func(a Anomaly) {
		odd, out = a.Reason, d.tell(out, a)
	}
	domain := netguard.Registrable(name)
	if n := slot(d.asked, who).add(now, time.Second); n > d.th.QPS {
		found(Anomaly{Time: now, Reason: QPS, Severity: "warn", Who: who, Samples: []string{name}, QPS: float64(n)})
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSuffix(name, domain), "."), ".") {
		switch {
		case len(label) > d.th.Label:
			found(Anomaly{Time: now, Reason: Long, Severity: "warn", Who: who, Domain: domain, Samples: []string{name}})
		case len(label) >= 24 && entropy(label) > d.th.Entropy:
			if slot(d.shapes, who+"\x00"+domain).add(now, d.th.Window) >= d.th.Labels {
				found(Anomaly{Time: now, Reason: Entropy, Severity: "warn", Who: who, Domain: domain, Samples: []string{name}})
			}
		}
	}
	f := slot(d.kin, who+"\x00"+domain)
	if f.names == nil || now.Sub(f.start) >= d.th.Window {
		f.start, f.names = now, map[string]bool{}
	}
	if len(f.names) <= d.th.Fanout {
		f.names[name] = true
	}
	if len(f.names) > d.th.Fanout {
		found(Anomaly{Time: now, Reason: Fanout, Severity: "warn", Who: who, Domain: domain, Samples: []string{name}})
	}
	return odd, out
}

// Answer notes what came of a question: whether the name exists, and whether all its addresses are public.
func (d *Detector) Answer(now time.Time, who, name string, exists, public bool) []Anomaly {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Anomaly
	switch {
	case !exists:
		if n := slot(d.gone, who).add(now, d.th.Window); n >= d.th.Missing {
			out = d.tell(out, Anomaly{Time: now, Reason: Missing, Severity: "warn", Who: who, Domain: netguard.Registrable(name), Samples: []string{name}})
		}
	case public:
		if len(d.public) >= maxKept {
			clear(d.public)
		}
		d.public[name] = now
	default:
		a := Anomaly{Time: now, Reason: Inside, Severity: "warn", Who: who, Domain: netguard.Registrable(name), Samples: []string{name}}
		if _, was := d.public[name]; was {
			a.Reason, a.Severity = Rebinding, "error"
		}
		out = d.tell(out, a)
	}
	return out
}

// Refused notes a question that was not put at all.
func (d *Detector) Refused(now time.Time, who, name string, why Reason) []Anomaly {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tell(nil, Anomaly{Time: now, Reason: why, Severity: "info", Who: who, Domain: netguard.Registrable(name), Samples: []string{name}})
}

// tell adds an anomaly unless it was told a moment ago.
func (d *Detector) tell(out []Anomaly, a Anomaly) []Anomaly {
	key := string(a.Reason) + "\x00" + a.Who + "\x00" + a.Domain
	if last, ok := d.told[key]; ok && a.Time.Sub(last) < d.th.Silence {
		return out
	}
	if len(d.told) >= maxKept {
		clear(d.told)
	}
	d.told[key] = a.Time
	return append(out, a)
}

// entropy is Shannon's, in bits a character.
func entropy(s string) float64 {
	var counts [256]int
	for i := range len(s) {
		counts[s[i]]++
	}
	sum := 0.0
	for _, n := range counts {
		if n > 0 {
			p := float64(n) / float64(len(s))
			sum -= p * math.Log2(p)
		}
	}
	return sum
}
