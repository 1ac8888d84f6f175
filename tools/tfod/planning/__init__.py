"""Plans a training (`tfod plan`, `tfod train --pipeline auto`): facts, rules, and the plan."""
