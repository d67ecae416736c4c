"""Time to an accuracy on an emulated slow network: the table of variants, its runs, its page.

`jobs/slow-network.sh` makes the runs. Each variant has up to three, in folders of its name:

local      all iterations with evaluations, without the slow network: how many iterations it takes
short      some iterations over the slow network: how long one takes
direct     to the target over the slow network, where that does not take too long

The number of ranks and the network change no bit of a run, so the first two together give the time.
"""
