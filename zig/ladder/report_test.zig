//! The report on the real rungs: what each rung must show holds, whatever the machine's speed.
