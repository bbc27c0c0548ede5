"""What the checks of unit and collector share: findings, their texts, the check of the broker."""
