package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/pavise/pavise"
	"github.com/pavise/pavise/internal/demo"
	"github.com/pavise/pavise/internal/role"
	"github.com/pavise/pavise/internal/screen"
)

// maxSpeed is how many times as fast as a minute a demo is played at most.
const maxSpeed = 100

// rows reads what a demo is to ask about; of no file it is nil.
func (u *upCommand) rows() (*demo.Rows, error) {
	switch {
	case !u.Demo && u.Replay != "":
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: "--replay is for a demo", Hint: "give --demo, too"}
	case !(u.DemoSpeed > 0 && u.DemoSpeed <= maxSpeed):
		return nil, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("--demo-speed: more than 0, and at most %d", maxSpeed), Hint: "1 plays the hour in a minute"}
	case u.Replay == "":
		return nil, nil
	}
	return demo.ReadRows(u.Replay)
}

// play runs the house, and a demo in it. Ctrl-C ends the demo first, and the house, which
// goes on, the next time; whatever else ends ctx ends both.
func (u *upCommand) play(ctx context.Context, c *cli, house *role.Up, welcome role.Greeting, rows *demo.Rows) error {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() {
		err := house.Run(life)
		stop()
		ended <- err
	}()
	if !c.JSON {
		fmt.Fprintf(c.stdout, "\nThe demo plays an hour in a minute: watch it at %s/demo, or here. Ctrl-C ends it, and pavise stays up.\n", welcome.Server)
	}
	err := u.demo(ctx, life, c, house, rows)
	switch {
	case life.Err() != nil: // the house could not go on
		return <-ended
	case ctx.Err() != nil && interrupted(ctx):
		fmt.Fprintf(c.stderr, "\nthe demo has ended; pavise is still up on %s, and Ctrl-C stops it\n", welcome.Server)
		again, forget := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer forget()
		ctx = again
	case ctx.Err() == nil && err != nil:
		c.say("error", err)
	case ctx.Err() == nil && !c.JSON:
		fmt.Fprintf(c.stdout, "\nThe demo is over; pavise is still up on %s, and Ctrl-C stops it.\n", welcome.Server)
	}
	select {
	case <-ctx.Done():
	case <-life.Done():
	}
	stop()
	return <-ended
}

// demo gives the play until it is over, somebody ends it, or the house does.
func (u *upCommand) demo(ctx, life context.Context, c *cli, house *role.Up, rows *demo.Rows) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	scene := ""
	err := house.Demo(ctx, rows, u.DemoSpeed, func(a demo.Act) {
		if c.JSON {
			_ = screen.WriteJSON(c.stdout, a, "") // a reader that went away misses the demo, and nothing else
			return
		}
		if a.Scene != scene {
			fmt.Fprintf(c.stdout, "\n%s\n\n", a.Scene)
			scene = a.Scene
		}
		printAct(c.stdout, a)
	})
	if errors.Is(err, context.Canceled) {
		return ctx.Err()
	}
	return err
}

// interrupted reports whether a context ended because somebody pressed Ctrl-C.
func interrupted(ctx context.Context) bool {
	return strings.HasPrefix(context.Cause(ctx).Error(), os.Interrupt.String())
}

// decisions are how an act is marked.
var decisions = map[string]string{demo.Allowed: "allowed", demo.Denied: "STOPPED", demo.Told: ""}

// actWidth is how many characters of a line of explanation there are.
const actWidth = 88

func printAct(w io.Writer, a demo.Act) {
	mark := decisions[a.Decision]
	if a.Odd {
		mark = "WRONG"
	}
	fmt.Fprintf(w, "%4d′  %-8s %s %s\n", a.Minute, mark, a.Actor, a.Did)
	for _, line := range wrapped(a.Why, actWidth) {
		fmt.Fprintf(w, "                %s\n", line)
	}
	if a.Prove != "" {
		fmt.Fprintf(w, "                → %s\n", a.Prove)
	}
}

// wrapped parts a text into lines between its words.
func wrapped(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len([]rune(line))+1+len([]rune(word)) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
