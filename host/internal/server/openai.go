package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/spec"
	"github.com/arw-project/arw/host/internal/stream"
)

// inferCodes are why a model is not asked, or does not answer.
var inferCodes = []abi.Code{abi.NotFound, abi.NoModel, abi.Busy, abi.Unavailable, abi.Unsupported, abi.BudgetExhausted}

// openAIRoutes let programs that speak OpenAI's dialect ask the models of this host. Each request is an action infer.*: the same
// checks, the same record, the same accounting.
func (s *Server) openAIRoutes() []route {
	return []route{
		{"POST", "/v1/chat/completions", actionSubmit, s.generates(readChat, chatForm), doc{Summary: "Answer a chat, in OpenAI's dialect", In: spec.Any{}, Out: spec.Any{}, Codes: inferCodes}},
		{"POST", "/v1/completions", actionSubmit, s.generates(readCompletion, textForm), doc{Summary: "Continue a text, in OpenAI's dialect", In: spec.Any{}, Out: spec.Any{}, Codes: inferCodes}},
		{"POST", "/v1/embeddings", actionSubmit, s.postEmbeddings, doc{Summary: "Vectors of texts, in OpenAI's dialect", In: spec.Any{}, Out: spec.Any{}, Codes: inferCodes}},
		{"GET", "/v1/models", actionSubmit, s.getOpenAIModels, doc{Summary: "The models that the caller may ask, in OpenAI's dialect", Out: spec.Any{}}},
	}
}

// hangupEvery is how often it is looked whether a caller who waits is still there.
const hangupEvery = 100 * time.Millisecond

// attended gives a context that ends when the caller hangs up.
func (s *Server) attended(conn net.Conn) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(s.ctx)
	go func() {
		tick := time.NewTicker(hangupEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if hungUp(conn) {
					cancel()
				}
			}
		}
	}()
	return ctx, cancel
}

// submitAsked makes an action of a request. The project is the one that OpenAI's clients name in a header.
func (s *Server) submitAsked(c *fiber.Ctx, a *asked) (action.Action, error) {
	input, err := json.Marshal(a.input)
	if err != nil {
		return action.Action{}, abi.Errorf(abi.Invalid, "read request: %w", err)
	}
	in, err := s.within(c, c.Get("OpenAI-Project"))
	if err != nil {
		return action.Action{}, err
	}
	req := action.Request{Kind: a.kind, Input: input, Actor: s.actor(c), Project: in, Corr: corr(c), Trace: traceOf(c)}
	if a.stream {
		req.Streams = []string{"output"}
	}
	act, _, err := s.svc.Actions.Submit(s.ctx, req)
	return act, err
}

// finish waits for an action's end; a caller who leaves before takes it back.
func (s *Server) finish(ctx context.Context, id, actor string) (action.Action, error) {
	act, err := s.svc.Actions.Wait(ctx, id)
	if err != nil {
		s.leave(id, actor)
		return act, err
	}
	if act.Failure != nil {
		return act, act.Failure.Err()
	}
	return act, nil
}

func (s *Server) leave(id, actor string) {
	// It may have ended by itself in the meantime; then there is nothing to cancel.
	_, _ = s.svc.Actions.Cancel(s.ctx, id, actor, "the caller went away")
}

// answerTo runs a request that is answered as a whole.
func (s *Server) answerTo(c *fiber.Ctx, a *asked, into any) (action.Action, error) {
	act, err := s.submitAsked(c, a)
	if err != nil {
		return act, err
	}
	ctx, cancel := s.attended(c.Context().Conn())
	defer cancel()
	if act, err = s.finish(ctx, act.ID, s.actor(c)); err != nil {
		return act, err
	}
	return act, json.Unmarshal(act.Output, into)
}

// generates answers chats and completions.
func (s *Server) generates(read func([]byte) (*asked, error), form form) fiber.Handler {
	return func(c *fiber.Ctx) error {
		a, err := read(c.Body())
		if err != nil {
			return err
		}
		if a.stream {
			return s.streamAnswer(c, a, form)
		}
		var got generated
		act, err := s.answerTo(c, a, &got)
		if err != nil {
			return err
		}
		return c.JSON(form.whole(act, got))
	}
}

// streamAnswer gives an answer in chunks. What fails before its first part has a status of its own; what takes longer than a
// heartbeat is told by comments that it is under way, and an error comes as an event.
func (s *Server) streamAnswer(c *fiber.Ctx, a *asked, form form) error {
	if s.streams.Add(1) > int64(s.opts.MaxStream) {
		s.streams.Add(-1)
		return abi.Errorf(abi.Busy, "ask a model: %d streams are open, the most this host serves", s.opts.MaxStream)
	}
	act, out, err := s.openAnswer(c, a)
	if err != nil {
		s.streams.Add(-1)
		return err
	}
	actor := s.actor(c)
	ctx, cancel := s.attended(c.Context().Conn())
	early, stop := context.WithTimeout(ctx, s.opts.Heartbeat)
	first, err := out.Next(early)
	stop()
	if errors.Is(err, io.EOF) {
		if _, failed := s.finish(ctx, act.ID, actor); failed != nil {
			cancel()
			s.streams.Add(-1)
			return failed
		}
	}
	c.Set(fiber.HeaderContentType, "text/event-stream")
	c.Set("X-Accel-Buffering", "no")
	ch := &chunks{form: form, act: act, model: a.model, usage: a.usage, pace: &pace{g: s.svc.Snappy, route: "POST /v1/chat/completions", began: act.Created}}
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		defer s.streams.Add(-1)
		defer cancel()
		ch.w = w
		if s.passAnswer(ctx, ch, out, first, actor) != nil {
			out.Leave()
			s.leave(act.ID, actor)
		}
	})
	return nil
}

func (s *Server) openAnswer(c *fiber.Ctx, a *asked) (action.Action, *stream.Output, error) {
	act, err := s.submitAsked(c, a)
	if err != nil {
		return act, nil, err
	}
	pair, err := s.svc.Actions.Streams(s.ctx, act.ID)
	if err != nil { // it has ended already
		if done, failed := s.svc.Actions.Get(s.ctx, act.ID); failed == nil && done.Failure != nil {
			err = done.Failure.Err()
		}
		return act, nil, err
	}
	return act, pair.Out, pair.Out.Take()
}

// passAnswer writes chunks until there are no more, and how the answer ended.
func (s *Server) passAnswer(ctx context.Context, ch *chunks, out *stream.Output, first stream.Part, actor string) error {
	clean := s.outgoing()
	say := func(part []byte) error {
		if len(part) == 0 {
			return nil
		}
		return ch.text(string(part))
	}
	err := ch.begin()
	if err == nil {
		err = say(clean.Push(first.Body))
	}
	for err == nil {
		beat, cancel := context.WithTimeout(ctx, s.opts.Heartbeat)
		p, failed := out.Next(beat)
		cancel()
		switch {
		case failed == nil:
			err = say(clean.Push(p.Body))
		case errors.Is(failed, io.EOF):
			if err := say(clean.Rest()); err != nil {
				return err
			}
			return s.endAnswer(ctx, ch, actor)
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			err = ch.pulse()
		}
	}
	return err
}

func (s *Server) endAnswer(ctx context.Context, ch *chunks, actor string) error {
	var got generated
	act, err := s.finish(ctx, ch.act.ID, actor)
	if err == nil {
		err = json.Unmarshal(act.Output, &got)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		_, body := openAIError(err)
		return ch.send(body)
	}
	return ch.end(got)
}

func (s *Server) postEmbeddings(c *fiber.Ctx) error {
	a, err := readEmbeddings(c.Body())
	if err != nil {
		return err
	}
	var got embedded
	if _, err := s.answerTo(c, a, &got); err != nil {
		return err
	}
	return c.JSON(got.list(a.base64))
}

func (s *Server) getOpenAIModels(c *fiber.Ctx) error {
	var got struct {
		Models []struct {
			Name string `json:"name"`
		} `json:"models"`
	}
	if _, err := s.answerTo(c, &asked{kind: "infer.models", input: map[string]any{}}, &got); err != nil {
		return err
	}
	list := api.OpenAIModels{Object: "list", Data: []api.OpenAIModel{}}
	for _, m := range got.Models {
		list.Data = append(list.Data, api.OpenAIModel{ID: m.Name, Object: "model", OwnedBy: "arw"})
	}
	return c.JSON(list)
}

// openAIProblem is problem for whoever speaks OpenAI's dialect.
func (s *Server) openAIProblem(c *fiber.Ctx, err error) error {
	status, body := openAIError(err)
	if status == fiber.StatusInternalServerError {
		s.log.Error("request failed", "method", c.Method(), "path", c.Path(), "error", err, "corr_id", corr(c))
	}
	if status == fiber.StatusUnauthorized {
		c.Set(fiber.HeaderWWWAuthenticate, `Bearer realm="arw"`)
	}
	return c.Status(status).JSON(body)
}
