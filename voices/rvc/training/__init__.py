"""Training of RVC voices: recordings in, the best checkpoint out.

    recordings ─► clips ─► content features, f0 ─► dataset ─► steps ─► evaluation ─► choice ─► model, index
                                                                └── state on disk: resumes after a kill

The networks are those of the parent package; `networks` adds what only training needs. A step follows RVC WebUI's
trainer; the rest of the loop is ours.
"""
