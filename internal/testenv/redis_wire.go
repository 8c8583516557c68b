package testenv

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// askTimeout bounds a question to a server.
const askTimeout = 5 * time.Second

// answers reports whether the server with this process id answers: when two tests
// chose the same port, the other's would answer just as well. A server that still
// loads its data does not count as answering.
func (s *RedisServer) answers(ctx context.Context, pid int) error {
	answer, err := s.ask(ctx, "PING", "INFO server")
	if err != nil {
		return err
	}
	pong, info, _ := strings.Cut(answer, "\r\n")
	if pong != "+PONG" {
		return fmt.Errorf("PING: %s", pong)
	}
	if !strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", pid)) {
		return fmt.Errorf("another server answers at %s", s.Addr())
	}
	return nil
}

// ask returns what the server answers to commands, over a connection of their own.
//
// It speaks Redis's protocol itself, because a client that retries and keeps
// connections is no good for looking whether there is a server yet.
func (s *RedisServer) ask(ctx context.Context, commands ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := s.dial(ctx)
	if err != nil {
		return "", err
	}
	answer, err := s.converse(conn, commands)
	return answer, errors.Join(err, conn.Close())
}

func (s *RedisServer) dial(ctx context.Context) (net.Conn, error) {
	if s.tls == nil {
		return new(net.Dialer).DialContext(ctx, "tcp", s.Addr())
	}
	config, err := s.tls.config()
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", s.Addr())
}

func (s *RedisServer) converse(conn net.Conn, commands []string) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return "", err
	}
	if s.password != "" {
		login := strings.TrimSpace("AUTH " + s.user)
		commands = append([]string{login + " " + s.password}, commands...)
	}
	if _, err := io.WriteString(conn, strings.Join(append(commands, "QUIT"), "\r\n")+"\r\n"); err != nil {
		return "", err
	}
	answer, err := readAnswers(conn)
	if err != nil || s.password == "" {
		return answer, err
	}
	login, rest, _ := strings.Cut(answer, "\r\n")
	if login != "+OK" {
		return "", fmt.Errorf("AUTH: %s", login)
	}
	return rest, nil
}

// readAnswers reads up to the answer to QUIT: the end of the connection, or, from a
// Sentinel, that it knows no such command.
func readAnswers(conn io.Reader) (string, error) {
	var answers []byte
	buffer := make([]byte, 4<<10)
	for {
		n, err := conn.Read(buffer)
		answers = append(answers, buffer[:n]...)
		before, _, refused := strings.Cut(string(answers), "-ERR unknown command 'QUIT'")
		switch {
		case refused:
			return before, nil
		case errors.Is(err, io.EOF):
			return string(answers), nil
		case err != nil:
			return "", err
		}
	}
}

// await asks until the answer is one that will do.
func (s *RedisServer) await(ctx context.Context, command string, done func(answer string) bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, err := s.ask(ctx, command)
		if err != nil {
			return fmt.Errorf("%s: %w", command, err)
		}
		if done(answer) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s to answer otherwise than this:\n%s", command, answer)
		}
	}
}
