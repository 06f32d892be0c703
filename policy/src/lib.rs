//! Who may call whom: the model, its signed wire form and the one decision function.
