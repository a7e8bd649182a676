"""
An independent checker of HLS, low-latency HLS, DASH, low-latency DASH and CMAF over HTTP: `finecut validate URL`.

It shares no code with the rest of finecut. `watch` turns a running origin into `Exchange`s (time, request, answer); `Evidence`
takes those apart; the functions in `checks` are pure and yield `Finding`s that name the rule broken, the object and what was
seen instead of what was expected. A recording replayed gives the findings of the run it was made of. The rules, with what is
looked at for each and what no client can see, are in `rules`.
"""
