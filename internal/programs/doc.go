// Package programs builds klinghook's programs and runs them as processes of their
// own, for the tests that drive them from outside. It knows their names and how they
// tell where they listen, and nothing of what is in them: it imports none of
// klinghook's packages but testenv.
package programs
