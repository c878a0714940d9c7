"""Training with Lightning; nothing of torch comes along until `physedge.train.fit` is imported."""
