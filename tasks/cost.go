package tasks

import (
	"math/big"
	"regexp"
	"strings"
)

// Cost is what a job cost in one unit or currency.
type Cost struct {
	// Amount is a decimal number as [Decimal] returns it, such as "1.5".
	Amount string `json:"amount" doc:"A decimal number." example:"1.5"`
	// Unit is a currency, such as "USD", or "unit" for Kling's resource units.
	Unit string `json:"unit" doc:"A currency, or unit for Kling's resource units." example:"USD"`
	// Kind is how it was charged, in Kling's words: "cash" or "unit".
	Kind string `json:"kind,omitempty" doc:"How it was charged, in Kling's words." example:"cash"`
}

// String returns the amount and its unit.
func (c Cost) String() string { return c.Amount + " " + c.Unit }

func (c Cost) amount() *big.Rat {
	amount, ok := new(big.Rat).SetString(c.Amount)
	if !ok {
		return new(big.Rat)
	}
	return amount
}

// decimalDigits limits the digits of an amount before its point, and those after it.
const decimalDigits = 18

var decimal = regexp.MustCompile(`^[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,2})?$`)

// Decimal returns a decimal number without exponent, plus sign and needless zeros. It is
// rounded to 18 digits after the point. ok is false for other texts, and for numbers
// with more than 18 digits before the point.
func Decimal(text string) (normal string, ok bool) {
	if !decimal.MatchString(text) {
		return "", false
	}
	n, ok := new(big.Rat).SetString(text)
	if !ok {
		return "", false
	}
	normal = decimalText(n)
	whole, _, _ := strings.Cut(strings.TrimPrefix(normal, "-"), ".")
	return normal, len(whole) <= decimalDigits
}

func decimalText(n *big.Rat) string {
	text := strings.TrimRight(n.FloatString(decimalDigits), "0")
	if text = strings.TrimSuffix(text, "."); text == "-0" {
		return "0"
	}
	return text
}

// SumCosts adds costs up: the result has one entry for each kind and unit, in order of
// first appearance.
func SumCosts(list []Cost) []Cost {
	var sums []Cost
	for _, cost := range list {
		if i := indexOfCost(sums, cost); i >= 0 {
			sums[i].Amount = decimalText(new(big.Rat).Add(sums[i].amount(), cost.amount()))
		} else {
			sums = append(sums, cost)
		}
	}
	return sums
}

// CostIncrease returns how much costs have grown. It omits entries that have not.
func CostIncrease(before, after []Cost) []Cost {
	var grown []Cost
	for _, cost := range after {
		growth := cost.amount()
		if i := indexOfCost(before, cost); i >= 0 {
			growth.Sub(growth, before[i].amount())
		}
		if growth.Sign() > 0 {
			cost.Amount = decimalText(growth)
			grown = append(grown, cost)
		}
	}
	return grown
}

// indexOfCost returns the index of the entry with the same kind and unit, or -1.
func indexOfCost(list []Cost, cost Cost) int {
	for i, other := range list {
		if other.Kind == cost.Kind && other.Unit == cost.Unit {
			return i
		}
	}
	return -1
}
